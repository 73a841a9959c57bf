"""Reads the body and the query of the present request, once and strictly.

No unknown or duplicate members, no coercion, the right content type, a size that is small.
"""

import json
from collections.abc import Callable, Container
from typing import Any, Final, TypeVar

from flask import Request, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from payymo.errors import (
    FieldError,
    InvalidInput,
    MalformedRequest,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from payymo.phrases import Phrase
from payymo.web.complaints import told

MAX_BODY = 16 * 1024
MAX_UPLOAD = 128 * 1024
"""Of a form with a file: twice what a logo may have, so that one that is a little too large costs nobody the rest."""
LARGER: Final = {"/admin/appearance": MAX_UPLOAD, "/api/admin/brand/logo": MAX_UPLOAD}
"""Where more than `MAX_BODY` is read, also by a server of ours."""
MAX_FIELD_ERRORS = 20
UNREADABLE = "payymo.unreadable"
"""Where a server of ours says which headers have values that can't be read."""
MEANINGFUL = {"host", "x-forwarded-for", "x-tenant", "authorization", "content-type", "content-encoding"}
"""Headers that we read. Others, such as a cookie of somebody else's, may have whatever values they like."""
Shape = TypeVar("Shape", bound=BaseModel)


def refuse_unreadable() -> None:
    """Refuse what means one thing to us and may mean another to who stands before us.

    Werkzeug takes `//path` for `/path`, and leads from no path at all to whichever host is named. It takes `post` for
    `POST`, which are two methods (RFC 9110 §9.1): who stands before us has no rules for the other one, and our own line
    for who hashes a password has none either. Raises MalformedRequest, NotFound.
    """
    if request.environ["REQUEST_METHOD"] != request.method:
        raise MalformedRequest("Methods are written in capital letters.")
    if not MEANINGFUL.isdisjoint(request.environ.get(UNREADABLE, ())):
        raise MalformedRequest("A header that says who or what is asked for has a value that is not ASCII.")
    path = request.environ.get("PATH_INFO", "")
    if path.startswith("//") or not path.startswith("/"):
        raise NotFound


def read_body(shape: type[Shape], *, is_optional: bool) -> Shape:
    """The body. Raises MalformedRequest, PayloadTooLarge, UnsupportedMediaType, InvalidInput with each problem."""
    data = read_octets()
    if is_optional and not data:
        return shape()
    return validate(shape.model_validate, _read_json(data), strict=True)


def read_query(shape: type[Shape], *, but: Container[str] = (), is_of_form: bool = False) -> Shape:
    """The query, but for some parameters. Raises MalformedRequest, InvalidInput with each problem.

    `is_of_form`: browsers send fields that nobody has filled in, too; they are absent.
    """
    try:
        args = request.args
    except UnicodeDecodeError:  # under a server of somebody else: ours takes no octets there that are not UTF-8
        raise MalformedRequest("The query is not UTF-8.") from None
    if any(len(args.getlist(name)) > 1 for name in args):
        raise MalformedRequest("A parameter is repeated in the query.")
    given = {name: value for name, value in args.items() if name not in but and (value or not is_of_form)}
    return validate(shape.model_validate_strings, given)


def most_of(path: str) -> int:
    """How many octets of a body are read."""
    return LARGER.get(path, MAX_BODY)


def read_media(content_type: str) -> bytes:
    """A body that is a file of this type. Raises MalformedRequest, PayloadTooLarge, UnsupportedMediaType."""
    data = read_octets()
    if request.mimetype != content_type or request.content_encoding:
        raise UnsupportedMediaType(Phrase("Send the body as {type}.", type=content_type))
    return data


def read_fields(request: Request) -> MultiDict[str, str]:
    """What a form has sent. Raises UnsupportedMediaType, PayloadTooLarge, MalformedRequest."""
    if request.mimetype != "application/x-www-form-urlencoded" or request.content_encoding:
        raise UnsupportedMediaType("Send this form as browsers do: application/x-www-form-urlencoded.")
    request.max_form_memory_size = MAX_BODY
    read_octets()  # all of them, or it is no form: a part of a form would be another one
    return request.form


def read_parameters(shape: type[Shape]) -> Shape:
    """What a form says in OAuth: what is empty is absent, and what is unknown is passed over (RFC 6749 §3.2).

    Raises UnsupportedMediaType, PayloadTooLarge, MalformedRequest, InvalidInput.
    """
    fields = read_fields(request)
    if any(len(fields.getlist(name)) > 1 for name in fields):
        raise MalformedRequest("A parameter is repeated in the form.")
    known = {name: value for name, value in fields.items() if value and name in shape.model_fields}
    return validate(shape.model_validate, known)


def read_octets() -> bytes:
    """The octets of the body. Raises MalformedRequest, PayloadTooLarge.

    A body that comes in chunks announces no length, and Werkzeug cuts off what is over the limit: we would believe
    something that nobody wrote. Other transfer codings are not undone by anybody (RFC 9112 §6.1).
    """
    if request.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise MalformedRequest("Send the body without a transfer coding, or as chunked alone.")
    most = request.max_content_length = most_of(request.path)
    too_large = PayloadTooLarge(Phrase("The body is too large: at most {most} KiB are read.", most=most // 1024))
    try:
        data = request.get_data()
    except RequestEntityTooLarge:
        raise too_large from None
    if len(data) >= most and request.content_length is None and request.environ["wsgi.input"].read(1):
        raise too_large
    if not data and "Transfer-Encoding" in request.headers:
        raise MalformedRequest("The body in chunks is empty, or it broke off.")
    if request.content_length is not None and len(data) < request.content_length:
        raise MalformedRequest("The body is shorter than it was announced.")  # RFC 9112 §8: the connection broke
    return data


def _read_json(data: bytes) -> Any:
    if request.mimetype != "application/json" or request.content_encoding:
        raise UnsupportedMediaType
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise MalformedRequest("The body is nested too deeply.") from None
    except ValueError:
        raise MalformedRequest("The body is not JSON, or a member stands in it twice.") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 8259 §4 leaves open which duplicate counts; two readers that disagree are an attack."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def validate(parse: Callable[..., Shape], data: Any, **options: Any) -> Shape:
    """What `parse` makes of the data. Raises InvalidInput with each problem."""
    try:
        return parse(data, **options)
    except ValidationError as error:
        found = [
            FieldError(_pointer(problem["loc"]), told(problem["type"], problem["msg"], problem.get("ctx", {})))
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidInput(found[:MAX_FIELD_ERRORS]) from None


def _pointer(location: tuple[int | str, ...]) -> str:
    """RFC 6901. Names that strangers chose are cut, and lose what can't be written in UTF-8."""
    parts = (str(part).encode("utf-8", "replace").decode()[:64] for part in location)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
