"""Keys in a hardware token, by PKCS#11 (OASIS, version 2.40): made in it, used in it, and never out of it.

Every call is made alone, whichever thread it comes from. The maker's library is one per process, and python-pkcs11
doesn't tell it that several threads may call: a library that believes it may then corrupt its memory.
"""

import itertools
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote

import pkcs11
from pkcs11 import Attribute, ObjectClass, exceptions

from payymo.errors import Misconfigured, Unavailable
from payymo.secrets.model import TokenAccess

T = TypeVar("T")
SCHEME: Final = "pkcs11:"


class TokenGone(Exception):
    """A key is not where it was: the token was away, or its library has not noticed that it is back."""


_LOST: Final = (
    TokenGone,
    exceptions.SessionHandleInvalid,
    exceptions.SessionClosed,
    exceptions.DeviceError,
    exceptions.DeviceRemoved,
    exceptions.TokenNotPresent,
    exceptions.UserNotLoggedIn,
    exceptions.KeyHandleInvalid,
    exceptions.ObjectHandleInvalid,
)
"""The token was away, or was started again: what we held of it is worth nothing any more."""
_WRONG_PIN = (
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.PinExpired,
)
_ALONE: Final = threading.RLock()
_begun: Final[dict[Path, "Beginning"]] = {}
_beginnings: Final = itertools.count()
_tokens: Final[dict[tuple[TokenAccess, str], "HardwareToken"]] = {}


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which process has begun a library, and for which time: sessions from before are worth nothing."""

    process: int
    count: int

    @property
    def is_ours(self) -> bool:
        """Whether it was this process, and not the one that it was forked from."""
        return self.process == os.getpid()


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A PKCS #11 URI (RFC 7512): which token, and which object in it, if one is named."""

    token: str
    object: str | None = None

    def __str__(self) -> str:
        """The URI, always written in the same way."""
        named = "" if self.object is None else f";object={quote(self.object, safe='-_.~')}"
        return f"{SCHEME}token={quote(self.token, safe='-_.~')}{named}"

    @classmethod
    def parse(cls, uri: str, source: str) -> "TokenUri":
        """Of `pkcs11:token=NAME;object=NAME`. Raises Misconfigured: module and PIN are settings of their own."""
        parts = uri.removeprefix(SCHEME).split(";")
        if not all(re.fullmatch(r"(token|object)=[^;?=&]+", part) for part in parts):
            raise Misconfigured([f"{source}: write pkcs11:token=NAME;object=NAME, nothing else (RFC 7512)"])
        found = {name: unquote(value) for name, _, value in (part.partition("=") for part in parts)}
        if "token" not in found or len(found) != len(parts):
            raise Misconfigured([f"{source}: write pkcs11:token=NAME;object=NAME, each once (RFC 7512)"])
        return cls(found["token"], found.get("object"))


class HardwareToken:
    """One token, logged in to once."""

    def __init__(self, access: TokenAccess, label: str) -> None:
        self._access = access
        self._label = label
        self._session: Any = None
        self._opened: Beginning | None = None
        self._refused: str | None = None

    def use(self, action: Callable[[Any], T]) -> T:
        """What comes of `action(session)`; when the token was away, of the library begun again.

        Raises Unavailable, Misconfigured; and whatever PKCS11Error the action is about.
        """
        with _ALONE:
            try:
                return action(self._open())
            except _LOST:
                _begun.pop(self._access.module, None)
            except exceptions.PKCS11Error:
                self._close()
                raise
            try:
                return action(self._open())
            except _LOST as lost:
                reason = str(lost) or name_of(lost)
                raise Unavailable(private=f"the token {self._label!r} does not answer: {reason}") from None
            except exceptions.PKCS11Error:
                self._close()
                raise

    def _close(self) -> None:
        """A call that was broken off may have left the session in the middle of something."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(exceptions.PKCS11Error):
                session.close()

    def _open(self) -> Any:
        if self._refused is not None:
            raise Misconfigured([self._refused])  # a PIN that was wrong once locks the token when it is tried again
        opened = self._opened
        if self._session is None or opened is None or opened != _begun.get(self._access.module) or not opened.is_ours:
            try:
                self._session = self._log_in()
            except Misconfigured as error:
                if opened is None or self._refused is not None:
                    raise
                raise Unavailable(private=str(error)) from None  # it was all right when we started
            self._opened = _begun[self._access.module]
        return self._session

    def _log_in(self) -> Any:
        try:
            token = _begin(self._access.module).get_token(token_label=self._label)
            try:
                return token.open(rw=True, user_pin=self._access.pin)
            except exceptions.UserAlreadyLoggedIn:
                return token.open(rw=True)
        except exceptions.NoSuchToken:
            raise Misconfigured([f"there is no token {self._label!r} at {self._access.module}"]) from None
        except exceptions.MultipleTokensReturned:
            raise Misconfigured([f"there are several tokens {self._label!r} at {self._access.module}"]) from None
        except _WRONG_PIN as wrong:
            self._refused = f"PAYYMO_PKCS11__PIN: the token {self._label!r} refuses it ({name_of(wrong)})"
            raise Misconfigured([self._refused]) from None
        except exceptions.PKCS11Error as error:
            _begun.pop(self._access.module, None)  # the library may know the token as it was
            raise Unavailable(private=f"the token {self._label!r} can't be opened: {name_of(error)}") from None


def hardware_token(access: TokenAccess | None, label: str, source: str) -> HardwareToken:
    """The token: the same one for everybody in this process. Raises Misconfigured without the settings for it."""
    if access is None:
        raise Misconfigured([f"{source} names a hardware token: set PAYYMO_PKCS11__MODULE and PAYYMO_PKCS11__PIN"])
    with _ALONE:
        return _tokens.setdefault((access, label), HardwareToken(access, label))


def _begin(module: Path) -> Any:
    """The maker's library, begun in this process: what a fork has inherited of it can't be used (PKCS#11 §6.7.1).

    Raises Misconfigured.
    """
    try:
        library = pkcs11.lib(str(module))
        before = _begun.get(module)
        if before is None or not before.is_ours:
            _begun.pop(module, None)
            library.reinitialize()
            _begun[module] = Beginning(os.getpid(), next(_beginnings))
    except (RuntimeError, OSError, exceptions.PKCS11Error):
        raise Misconfigured([f"PAYYMO_PKCS11__MODULE: {module} is no PKCS#11 library that begins"]) from None
    return library


def name_of(error: Exception) -> str:
    """What python-pkcs11 calls this failure, without the words of the maker's library: nobody knows what is in them."""
    return type(error).__name__


def find_objects(session: Any, kind: ObjectClass, label: str) -> list[Any]:
    """Every object of a kind with this label. The search is always led to its end: a token has only a few at a time."""
    return list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}))
