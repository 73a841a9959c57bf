"""One call that decides about a token: signature, type, algorithm, issuer, audience, times, tenant.

The order is fixed. Text before JSON, header before key, signature before claims: nothing unsigned is believed, and no
more work is spent on a stranger's text than its last passed check deserves. Anything unexpected is a refusal. Getting
keys and knowing revocations is other modules' business.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload

import msgspec

from payymo_guard.claims import Claims, TokenClaims
from payymo_guard.errors import Refused
from payymo_guard.keyset import ALGORITHMS, VerificationKey, is_kid
from payymo_guard.wire import decode_base64url, decode_object, encode_json, split

MAX_LEEWAY_SECONDS: Final = 60
AHEAD_SECONDS: Final = 5
"""How far the issuer's clock may be ahead of ours. What it has signed a moment ago then begins in our future, and would
be refused just where a client is quick."""
MAX_HEADERS: Final = 64
"""One header per key and type is what an issuer writes, so this is many."""

_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
_system_clock: Final = time.time  # noqa: TID251 - the default of the one parameter by which time is handed in

C = TypeVar("C", bound=TokenClaims)


class Proven(msgspec.Struct, Generic[C], eq=False, gc=False):
    """A token's claims and the key that has proved them."""

    claims: C
    key: VerificationKey
    revision: int = -1
    """The note of whoever checks revocations; nobody else looks at it."""


class Verifier(Generic[C]):
    """Verifies tokens of one type, from one issuer, for one audience. May be shared by threads.

    `keys` finds a key by `kid` and is asked for every token, so that a key that was removed is refused at once.
    `claims_type` is a frozen msgspec.Struct. With a `cache_size`, as many verified tokens are remembered at most: those
    that were asked for of late.
    """

    @overload
    def __init__(
        self: "Verifier[Claims]",
        *,
        issuer: str,
        audience: str,
        keys: Callable[[str], VerificationKey | None],
        token_type: str = ...,
        leeway_seconds: int = ...,
        clock: Callable[[], float] = ...,
        cache_size: int = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: Callable[[str], VerificationKey | None],
        token_type: str = ...,
        claims_type: type[C],
        leeway_seconds: int = ...,
        clock: Callable[[], float] = ...,
        cache_size: int = ...,
    ) -> None: ...

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: Callable[[str], VerificationKey | None],
        token_type: str = "at+jwt",  # noqa: S107 - a media type, not a password
        claims_type: type[Any] = Claims,
        leeway_seconds: int = 0,
        clock: Callable[[], float] = _system_clock,
        cache_size: int = 0,
    ) -> None:
        _require_text(issuer=issuer, audience=audience, token_type=token_type)
        _require_whole(leeway_seconds, 0, MAX_LEEWAY_SECONDS, "leeway_seconds")
        _require_whole(cache_size, 0, None, "cache_size")
        _require_frozen_struct(claims_type)
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._token_type = token_type
        self._decode_claims: Callable[[bytes], C] = msgspec.json.Decoder(claims_type).decode
        self._leeway = leeway_seconds
        self._ahead = max(leeway_seconds, AHEAD_SECONDS)
        self._clock = clock
        self._headers: dict[bytes, _Header] = {}
        # Two halves instead of one order: once the first is full, the second is forgotten, and the first becomes it. A
        # token that is asked for moves to the first half, so that none in use is forgotten.
        self._half = cache_size // 2 or cache_size
        self._has_second = cache_size > 1
        self._fresh: dict[str, Proven[C]] = {}
        self._faded: dict[str, Proven[C]] = {}
        self._turning = threading.Lock()

    @property
    def remembered(self) -> Mapping[str, "Proven[C]"]:
        """What was asked for of late, by token: not whether its key is still there, nor whether its time has come.

        Always the same mapping. What is not in it may be remembered still: `recall`.
        """
        return self._fresh

    def verify(self, token: str, *, tenant_id: str | None = None) -> C:
        """Return the claims of a token that is valid here and now, and for `tenant_id` if given. Raises Refused."""
        try:
            claims = (self.recall(token) or self.prove(token)).claims
            self.check_now(claims, tenant_id)
        except Refused:
            raise
        except Exception as error:
            # Whatever this was, the token has not passed every check.
            raise Refused("token_malformed", "The token could not be checked.") from error
        return claims

    def renew_locks(self) -> None:
        """After a fork, in the child: whoever held the lock is not here to let go of it."""
        self._turning = threading.Lock()

    def recall(self, token: str) -> "Proven[C] | None":
        """Return what was proved before of this token, if its key is still the very same object.

        Reading takes no lock: one `get` of an exact str is atomic. What has faded is fresh again then.
        """
        if type(token) is not str:
            raise Refused("token_malformed")
        entry = self._fresh.get(token)
        if entry is None:
            entry = self._faded.get(token)
            if entry is not None:
                self._remember(token, entry)
        return None if entry is None or self._look_up(entry.key.kid) is not entry.key else entry

    def prove(self, token: str) -> "Proven[C]":
        """Return what stays true of a token, whenever and whoever asks; `check_now` has to follow.

        Raises Refused. Few functions: one that was not called for a while takes as long to call as to run, and a
        verification of RSA leaves little in a processor's caches.
        """
        try:
            encoded, payload, signature, signing_input = split(token)
            header = self._headers.get(encoded) or _read_header(encoded, self._token_type)
            try:
                key = self._keys(header.kid)
            except Refused:
                raise  # who finds keys may know better why there is none
            except Exception as error:
                raise Refused("key_unknown", "The token's key could not be looked up.") from error
            if key is None or key is not header.key:  # the one that fitted the last time
                key = _require_fitting(key, header)
            key.verify(signature, signing_input)
            if key is not header.key and (encoded in self._headers or len(self._headers) < MAX_HEADERS):
                self._headers[encoded] = _Header(header.algorithm, header.kid, key)  # it was signed: no stranger's
            proven = Proven(self._read_claims(payload), key)
            if self._half:  # only what is proved gets here: no stranger can push out what is remembered
                self._remember(token, proven)
        except Refused:
            raise
        except ValueError as error:
            raise Refused("token_malformed") from error
        except Exception as error:
            # Whatever this was, the token has not passed every check.
            raise Refused("token_malformed", "The token could not be checked.") from error
        return proven

    def _remember(self, token: str, entry: "Proven[C]") -> None:
        with self._turning:
            if len(self._fresh) >= self._half:
                self._faded = self._fresh.copy() if self._has_second else {}
                self._fresh.clear()
            self._fresh[token] = entry

    def _look_up(self, kid: str) -> VerificationKey | None:
        try:
            return self._keys(kid)
        except Refused:
            raise  # who finds keys may know better why there is none
        except Exception as error:
            raise Refused("key_unknown", "The token's key could not be looked up.") from error

    def _read_claims(self, payload: bytes) -> C:
        try:
            claims = self._decode_claims(payload)
            if encode_json(claims) != payload:
                decode_object(payload)  # further claims, or another order or spacing: refuse duplicates the long way
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise Refused("claims_invalid") from error
        if claims.iss != self._issuer:
            raise Refused("issuer_wrong")
        # Whole equality. `in` is for tuples only: on a string it would look for a part of it.
        if claims.aud != self._audience and (isinstance(claims.aud, str) or self._audience not in claims.aud):
            raise Refused("audience_wrong")
        if claims.exp <= claims.iat or claims.exp <= claims.nbf:
            raise Refused("claims_invalid", "The token ends before it begins.")
        return claims

    def check_now(self, claims: C, tenant_id: str | None) -> None:
        """Ask again what changes with time or with who asks. Raises Refused, also for a clock that answers NaN."""
        now = self._clock()
        if not now < claims.exp + self._leeway:
            raise Refused("token_expired")
        latest = now + self._ahead
        if not (claims.nbf <= latest and claims.iat <= latest):
            raise Refused("token_not_yet_valid")
        if tenant_id is not None and claims.tenant_id != tenant_id:
            raise Refused("tenant_wrong")


class _Header(NamedTuple):
    algorithm: str
    kid: str
    key: VerificationKey | None = None
    """The key that fitted the last time."""


def _read_header(segment: bytes, token_type: str) -> _Header:
    """Return the header, if it is of this type and says nothing but alg, kid and typ.

    No other member has a harmless meaning: jwk, jku, x5u and x5c bring a key, crit and b64 change the rules, zip and
    enc change the content (RFC 8725 §3.10). They are refused before anything is looked up.
    """
    try:
        members = decode_object(decode_base64url(segment))
    except ValueError as error:
        raise Refused("token_malformed") from error
    if not members.keys() <= _HEADER_MEMBERS:
        raise Refused("token_malformed", "The token's header holds members that are not accepted.")
    if members.get("typ") != token_type:
        raise Refused("type_wrong")
    algorithm, kid = members.get("alg"), members.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Refused("algorithm_refused")
    if not isinstance(kid, str) or not is_kid(kid):
        raise Refused("token_malformed", "The token's header names no key.")
    return _Header(algorithm, kid)


def _require_fitting(key: object, header: _Header) -> VerificationKey:
    if not isinstance(key, VerificationKey) or key.kid != header.kid:
        raise Refused("key_unknown")
    if key.algorithm != header.algorithm:
        raise Refused("algorithm_refused")
    return key


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a text says about itself. Nobody has checked a signature: anybody can write this."""

    untrusted_header: Mapping[str, object]
    untrusted_claims: Mapping[str, object]


def inspect(token: str) -> Inspection:
    """Return what a token says, for tools that explain tokens to people. Never decide by it: use Verifier.

    Raises Refused if it isn't a token at all; any header and any claims are shown.
    """
    header, payload, _, _ = split(token)
    try:
        return Inspection(decode_object(decode_base64url(header)), decode_object(payload))
    except ValueError as error:
        raise Refused("token_malformed") from error


def _require_text(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"a Verifier needs its {name}: without it, tokens meant for others would pass")


def _require_whole(value: int, least: int, most: int | None, name: str) -> None:
    if type(value) is not int or value < least or (most is not None and value > most):
        raise ValueError(
            f"{name} is a whole number of at least {least}" + ("" if most is None else f", at most {most}")
        )


def _require_frozen_struct(claims_type: type) -> None:
    """Remembered claims are shared by everybody who presents the token, so they must not change."""
    if not (issubclass(claims_type, msgspec.Struct) and claims_type.__struct_config__.frozen):
        raise ValueError("claims_type is a frozen msgspec.Struct")
