"""What pydantic says of a member, as sentences whose patterns are known."""

from collections.abc import Mapping
from typing import Final

from payymo.phrases import Phrase

_PATTERNS: Final[Mapping[str, Phrase]] = {
    "missing": Phrase("Field required"),
    "extra_forbidden": Phrase("Extra inputs are not permitted"),
    "greater_than_equal": Phrase("Input should be greater than or equal to {ge}"),
    "less_than_equal": Phrase("Input should be less than or equal to {le}"),
    "int_parsing": Phrase("Input should be a valid integer, unable to parse string as an integer"),
    "bool_parsing": Phrase("Input should be a valid boolean, unable to interpret input"),
    "uuid_parsing": Phrase("Input should be a valid UUID, {error}"),
    "literal_error": Phrase("Input should be {expected}"),
    "string_pattern_mismatch": Phrase("String should match pattern '{pattern}'"),
    "naive_datetime_from_parsing": Phrase("Input should be a valid datetime, {error}"),
    "datetime_from_date_parsing": Phrase("Input should be a valid datetime or date, {error}"),
    "timezone_naive": Phrase("Input should not have timezone info"),
}


def told(kind: str, sentence: str, facts: Mapping[str, object]) -> str:
    """The same sentence, by its pattern, where there is one."""
    match kind:
        case "string_too_short":
            made = Phrase.counted(
                "String should have at least {n} character",
                "String should have at least {n} characters",
                n=int(str(facts["min_length"])),
            )
        case "string_too_long":
            made = Phrase.counted(
                "String should have at most {n} character",
                "String should have at most {n} characters",
                n=int(str(facts["max_length"])),
            )
        case "too_long":
            made = Phrase.counted(
                "{kind} should have at most {n} item after validation, not {actual}",
                "{kind} should have at most {n} items after validation, not {actual}",
                n=int(str(facts["max_length"])),
                kind=facts["field_type"],
                actual=facts["actual_length"],
            )
        case _ if kind in _PATTERNS:
            made = Phrase(_PATTERNS[kind], **facts) if facts else _PATTERNS[kind]
        case _:
            return sentence
    return made if made == sentence else sentence
