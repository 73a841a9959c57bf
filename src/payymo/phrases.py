"""Sentences that may be told in another language: English wherever they are written, and known by their pattern.

Where a sentence comes to be, nobody knows who will read it. So it is a text like any other, for logs, the API and the
command line; a page finds the pattern and what stands in it, and writes it in its reader's language.
"""

from collections.abc import Iterable


class Phrase(str):
    """A sentence. `template` has names in braces for what is put in; `many`: of another number than one, by `n`."""

    __slots__ = ("many", "template", "values")
    template: str
    many: str | None
    values: dict[str, object]

    def __new__(cls, template: str, /, **values: object) -> "Phrase":
        """A sentence of this pattern."""
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.many, made.values = template, None, values
        return made

    @classmethod
    def counted(cls, one: str, many: str, /, *, n: int, **values: object) -> "Phrase":
        """A sentence about a number."""
        made = cls(one if n == 1 else many, n=n, **values)
        made.template, made.many = one, many
        return made

    @classmethod
    def joined(cls, parts: Iterable[str], by: str = " ") -> "Phrase":
        """Sentences one after the other."""
        named = {f"p{number}": part for number, part in enumerate(parts)}
        return cls(by.join(f"{{{name}}}" for name in named), **named)
