"""Which requests must not be told apart by time: a table. Whoever adds a state of an account adds a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from payymo.cli.timing_world import IMPORTED, PASSWORD, WRONG, Ask, World, forged

Case = Callable[[World], Ask]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes of requests. Their answers have to be the same, too."""

    what: str
    first: Case
    second: Case
    by_mail: bool = False
    """What comes of them goes by mail: where none is sent they are refused before anybody is looked up."""


def _log_in(who: str, password: str = WRONG, tenant: str = "plain") -> Case:
    return lambda world: world.log_in(who, password=password, tenant=tenant)


def _hostile(password: str) -> tuple[Case, Case]:
    return _log_in("known", password), _log_in("unknown", password)


def _verify(token_of: Callable[[World], str]) -> Case:
    return lambda world: world.ask("token/verify", {"token": token_of(world)}, tenant=None)


def _refresh(token_of: Callable[[World], str]) -> Case:
    return lambda world: world.ask("refresh", {"refresh_token": token_of(world)}, tenant=None)


def _register(email: str, username: str) -> Case:
    body = {"email": f"{email}@timing.example", "username": username, "password": PASSWORD}
    return lambda world: world.ask("register", body)


def _reset(who: str) -> Case:
    return lambda world: world.ask("password/reset", {"email": f"{who}@timing.example"})


def _open(token_of: Callable[[World], str]) -> Case:
    return lambda world: world.ask("email/verify", {"token": token_of(world)})


def _choose(token_of: Callable[[World], str]) -> Case:
    return lambda world: world.ask("password/reset/confirm", {"token": token_of(world), "new_password": PASSWORD})


_ENDED: Final = _verify(lambda world: world.revoked().access_token)
_ENDED_REFRESH: Final = _refresh(lambda world: world.revoked().refresh_token)

PAIRS: Final[dict[str, Pair]] = {
    "login-unknown": Pair("a known and an unknown user", _log_in("known"), _log_in("unknown")),
    "login-no-address": Pair("a known user, and no address at all", _log_in("known"), _log_in("no address @@")),
    "login-disabled": Pair("a known and a disabled user", _log_in("known"), _log_in("disabled")),
    "login-disabled-right": Pair(
        "a disabled user's wrong and right password", _log_in("disabled"), _log_in("disabled", PASSWORD)
    ),
    "login-unverified": Pair(
        "a wrong password, and the right one of who has not verified their address",
        _log_in("known"),
        _log_in("unverified", PASSWORD),
    ),
    "login-forced": Pair(
        "an unknown user, and the old password of who has to choose another",
        _log_in("unknown"),
        _log_in("forced", PASSWORD),
    ),
    "login-empty": Pair("an empty password, known and unknown", *_hostile("")),
    "login-long": Pair("a password of 1,024 characters", *_hostile("x" * 1024)),
    "login-too-long": Pair("a password of 15,000 characters", *_hostile("x" * 15_000)),
    "login-nul": Pair("a password with NUL in it", *_hostile("a\x00b" * 5)),
    "login-surrogate": Pair("a password with half a character in it", *_hostile("half \ud800 a character")),
    **{
        f"login-{scheme}": Pair(
            f"an unknown user, and one whose {scheme} hash was imported",
            _log_in("unknown", tenant=scheme),
            _log_in("imported", tenant=scheme),
        )
        for scheme in IMPORTED
    },
    "register-taken": Pair(
        "a taken address and a taken name", _register("known", "somebody"), _register("somebody", "known")
    ),
    "reset-unknown": Pair("a known and an unknown user", _reset("known"), _reset("unknown"), by_mail=True),
    "reset-disabled": Pair("a known and a disabled user", _reset("known"), _reset("disabled"), by_mail=True),
    "link-unknown": Pair("a link for something else, and one of nobody's", _open(World.link), _open(World.no_link)),
    "link-garbage": Pair("a link for something else, and garbage", _open(World.link), _open(lambda _world: "garbage")),
    "link-expired": Pair(
        "an expired link for a new password, and one of nobody's", _choose(World.expired_link), _choose(World.no_link)
    ),
    "verify-garbage": Pair(
        "an ended session, and a forged one", _ENDED, _verify(lambda world: forged(world.revoked().access_token))
    ),
    "verify-expired": Pair("an ended session, and an expired token", _ENDED, _verify(World.expired_access)),
    "verify-suspended": Pair(
        "an ended session, and a suspended tenant's",
        _ENDED,
        _verify(lambda world: world.revoked("suspended").access_token),
    ),
    "refresh-garbage": Pair(
        "an ended session, and a forged one",
        _ENDED_REFRESH,
        _refresh(lambda world: forged(world.revoked().refresh_token)),
    ),
    "refresh-unknown": Pair(
        "an ended session, and one that never was",
        _ENDED_REFRESH,
        _refresh(lambda world: world.refresh_of_nobody(lives=True)),
    ),
    "refresh-suspended": Pair(
        "an ended session, and a suspended tenant's",
        _ENDED_REFRESH,
        _refresh(lambda world: world.revoked("suspended").refresh_token),
    ),
    "refresh-expired": Pair(
        "an ended session, and an expired token",
        _ENDED_REFRESH,
        _refresh(lambda world: world.refresh_of_nobody(lives=False)),
    ),
}
