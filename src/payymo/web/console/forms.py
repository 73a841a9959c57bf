"""Reads forms and queries, once and strictly; and keeps what was typed for when it has to be shown again."""

import io
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from flask import Request
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from payymo.errors import FieldError, InvalidInput, MalformedRequest, PayloadTooLarge, PayymoError
from payymo.phrases import Phrase
from payymo.web.reading import MAX_BODY, Shape, read_fields, read_octets, validate

TOKEN_FIELD: Final = "csrf"  # noqa: S105 - the name of a field
KEPT_FIELD: Final = "kept"
MAX_PARTS: Final = 32
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


def read_sent(request: Request, *, upload: str | None = None) -> tuple[MultiDict[str, str], bytes | None]:
    """What a form has sent, and the file that may come with it, in the field `upload`.

    Raises UnsupportedMediaType, PayloadTooLarge, MalformedRequest.
    """
    if upload is not None and request.mimetype == "multipart/form-data" and not request.content_encoding:
        return _read_parts(request, upload)
    return read_fields(request), None


def _read_parts(request: Request, upload: str) -> tuple[MultiDict[str, str], bytes | None]:
    """RFC 7578, from octets that are all there. A file without a name and without content is one that nobody chose."""
    octets = read_octets()
    parser = FormDataParser(_in_memory, max_form_parts=MAX_PARTS, silent=False)
    kind, parameters = request.mimetype, dict(request.mimetype_params)
    try:
        _, fields, files = parser.parse(io.BytesIO(octets), kind, len(octets), parameters)
    except RequestEntityTooLarge:
        raise PayloadTooLarge(Phrase("The form is too large: at most {most} fields.", most=MAX_PARTS)) from None
    except ValueError:
        raise MalformedRequest("The form can't be read.") from None
    if not all(fields):  # a part without a name, which is none to the parser
        raise MalformedRequest("The form can't be read.")
    if sum(len(name) + len(value) for name, value in fields.items(multi=True)) > MAX_BODY:
        raise PayloadTooLarge(
            Phrase("The form is too large: at most {most} KiB beside the file.", most=MAX_BODY // 1024)
        )
    given = list(files.items(multi=True))
    if len(given) > 1 or any(name != upload for name, _ in given):
        raise MalformedRequest("There is a file in the form that nobody asked for.")
    data = given[0][1].read() if given else b""
    return fields, data if data or (given and given[0][1].filename) else None


def _in_memory(*_facts: object, **_more: object) -> io.BytesIO:
    """Where a file is kept: it is here already."""
    return io.BytesIO()


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
