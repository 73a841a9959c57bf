"""How a token is spelled: compact form, base64url and JSON, each with exactly one reading.

Lenient decoders let one token be written in many ways, and then a list of refused texts, a cache or a second parser
disagrees with the first about what was signed. Everything here raises ValueError unless it says otherwise.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec
import pybase64

from payymo_guard.errors import Refused

MAX_TOKEN_CHARS: Final = 8192
"""What common servers allow for all headers together; a larger token could not arrive anyway."""

MAX_DEPTH: Final = 32
"""Levels of a JSON document: the outermost object is the first, and a plain value is one too."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PLUS: Final = ord("+")
_SLASH: Final = ord("/")
"""As numbers: octets that are looked for in octets are first taken for a number, which fails at some length."""
_PADDING: Final = (b"", b"", b"==", b"=")
_CANONICAL_ENDS: Final = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
"""By length modulo 4: the last characters whose unused bits are zero (RFC 4648 §3.5). One left over is never right."""

_from_base64: Final = pybase64.b64decode
_parse: Final = msgspec.json.Decoder(dict[str, Any]).decode
encode_json: Final = msgspec.json.Encoder().encode


Parts: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""Of a compact JWS (RFC 7515 §3.1): its header, still encoded; the octets of payload and signature; what was signed."""


def split(token: object) -> Parts:
    """Return the parts of a token. Raises Refused: not a string, too large, or not three parts of canonical base64url.

    The size comes first, so that nothing below it is ever asked to look at a megabyte of dots. The header is left as it
    is, because most are known by their spelling: it goes through `decode_base64url`, or has gone through it before. In
    one function, since a call costs as much as what it does for a token that was never seen.
    """
    if type(token) is not str:  # a subclass could answer one thing to the check and another to the cache
        raise Refused("token_malformed")
    if len(token) > MAX_TOKEN_CHARS:
        raise Refused("token_too_large")
    try:
        # From both ends: a search for one octet runs through a machine's widest words, and `split` looks at each. What
        # has more than three parts has a dot in its payload then, which the decoder refuses.
        signed, _, signature = token.encode("ascii").rpartition(b".")
        header, _, payload = signed.partition(b".")
        more, left = len(payload) & 3, len(signature) & 3
        if (
            not header
            or payload[-1] not in _CANONICAL_ENDS[more]
            or signature[-1] not in _CANONICAL_ENDS[left]
            or _PLUS in signed
            or _SLASH in signed
            or _PLUS in signature
            or _SLASH in signature
        ):
            raise Refused("token_malformed")
        return (
            header,
            _from_base64(payload + _PADDING[more], b"-_", True),  # noqa: FBT003 - by position is faster
            _from_base64(signature + _PADDING[left], b"-_", True),  # noqa: FBT003
            signed,
        )
    except (ValueError, IndexError) as error:  # an empty part has no last character
        raise Refused("token_malformed") from error


def decode_base64url(text: bytes) -> bytes:
    """Return the octets of unpadded base64url (RFC 7515 §2), if this is the one way to write them.

    The decoder refuses what is not in the alphabet, but for two things: the characters that ours has others for, and
    padding, which it takes at the end.
    """
    if not text:
        return b""
    left_over = len(text) & 3
    if text[-1] not in _CANONICAL_ENDS[left_over] or _PLUS in text or _SLASH in text:
        raise ValueError("not canonical base64url")
    try:
        return _from_base64(text + _PADDING[left_over], b"-_", True)  # noqa: FBT003 - by position is faster
    except ValueError as error:
        raise ValueError("not base64url") from error


def encode_base64url(data: bytes) -> bytes:
    """Unpadded base64url (RFC 7515 §2)."""
    return pybase64.urlsafe_b64encode(data).rstrip(b"=")


def decode_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object without duplicate members at any depth.

    Parsers disagree on which of two duplicates counts, so neither does. How deep a parser can go depends on the
    caller's stack and the version of Python, so there is a limit of our own.
    """
    try:
        value = _parse(data)
        _refuse_depth(value)
        if not is_written_as(value, data):
            json.loads(data.decode(), object_pairs_hook=_refuse_duplicates)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError("not a JSON object") from error
    return value


def _refuse_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(node: object) -> Iterable[object]:
    match node:
        case dict():
            return node.values()
        case list():
            return node
        case _:
            return ()


def is_written_as(value: object, data: bytes) -> bool:
    """Tell whether `data` is exactly how we would write `value`, and so holds no duplicates: a writer repeats nothing.

    False proves nothing. This costs a fraction of looking at every pair, and is how nearly all tokens are written.
    """
    return encode_json(value) == data


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a member appears twice")
