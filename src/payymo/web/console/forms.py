"""Reads forms and queries, once and strictly; and keeps what was typed for when it has to be shown again."""

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from payymo.errors import FieldError, InvalidInput, MalformedRequest, PayymoError
from payymo.web.reading import Shape, validate

TOKEN_FIELD: Final = "csrf"  # noqa: S105 - the name of a field
KEPT_FIELD: Final = "kept"
_SECRET: Final = ("password", "token")
"""Fields with this in their names are not shown again."""
_SIMPLER: Final = {
    "String should have at least 1 character": "Please fill this in.",
    "Field required": "Please fill this in.",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """A form that was refused: what was typed, what is wrong with which field, and what is wrong altogether."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sentence: str | None = None

    def value(self, name: str, default: str = "") -> str:
        """What was typed into a field."""
        return self.values.get(name, (default,))[0]


def read_form(shape: type[Shape], fields: MultiDict[str, str]) -> Shape:
    """The form. Raises InvalidInput with each problem, MalformedRequest: a field stands in it twice."""
    return validate(shape.model_validate, _members(shape, fields))


def keep(fields: MultiDict[str, str]) -> dict[str, tuple[str, ...]]:
    """What of a form may be shown again: no passwords."""
    names = [name for name in fields if name != TOKEN_FIELD and not any(word in name for word in _SECRET)]
    return {name: tuple(fields.getlist(name)) for name in names}


def tried(fields: MultiDict[str, str], refusal: PayymoError) -> Tried:
    """What is shown of a refused form."""
    found: dict[str, tuple[str, ...]] = {}
    if isinstance(refusal, InvalidInput):
        for problem in refusal.errors:
            name = _name_of(problem)
            found[name] = (*found.get(name, ()), _SIMPLER.get(problem.detail, problem.detail))
    general = " ".join(found.pop("", ()))
    return Tried(keep(fields), found, general or (None if found else refusal.detail))


def _name_of(problem: FieldError) -> str:
    return problem.pointer.removeprefix("/").partition("/")[0]


def _members(shape: type[BaseModel], fields: MultiDict[str, str]) -> dict[str, object]:
    """Fields as members: an empty one that need not be filled in is absent."""
    return dict(_each(shape, fields))


def _each(shape: type[BaseModel], fields: MultiDict[str, str]) -> Iterator[tuple[str, object]]:
    for name in fields:
        if name == TOKEN_FIELD:
            continue
        given, known = fields.getlist(name), shape.model_fields.get(name)
        if known is not None and typing.get_origin(known.annotation) in {tuple, list}:
            yield name, given
        elif len(given) > 1:
            raise MalformedRequest("A field stands in the form more than once.")
        elif given[0] or known is None or known.is_required():
            yield name, given[0]
