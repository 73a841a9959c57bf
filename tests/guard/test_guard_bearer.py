"""The Authorization header, read strictly, and what refusals look like: the same in every framework."""

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from payymo_guard import Claims, Guard, Refused, VerificationKey
from payymo_guard.bearer import Answer, admit, admit_async, concrete, read_token
from payymo_guard.elapsed import system_elapsed
from payymo_guard.off_loop import MAX_HEADERS, answers_at_once
from payymo_guard.revocations import Revocations
from payymo_guard.source import SourceStatus
from payymo_guard.testing import FakeIssuer

ISSUER = FakeIssuer()
CORE = ISSUER.verifier()
READ = ("invoices:read",)
TOKEN = ISSUER.mint(tenant_id="acme", permissions=READ, ttl_seconds=86_400)  # however long ago this was loaded
EXPIRED = ISSUER.sign(ISSUER.claims() | {"iat": 1, "nbf": 1, "exp": 2})


class Broken:
    """A verifier that fails by this exception, or answers this."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def verify(self, token: str, *, tenant_id: str | None = None) -> Claims:  # noqa: ARG002 - it doesn't look
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome  # type: ignore[no-any-return]


def refusal(outcome: Claims | Answer) -> tuple[int, str, dict[str, str]]:
    """The status, the code and the headers of an answer."""
    assert isinstance(outcome, Answer)
    document = json.loads(outcome.body)
    assert document["status"] == outcome.status
    assert document["type"] == f"urn:payymo:problem:{document['code']}"
    assert document["title"]
    assert document["detail"]
    headers = dict(outcome.headers)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    return outcome.status, document["code"], headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    """RFC 9110 §11.1."""
    outcome = admit(CORE, [f"{scheme} {TOKEN}"], READ)
    assert isinstance(outcome, Claims)
    assert outcome.tenant_id == "acme"


@pytest.mark.parametrize(
    "header", ["Basic YTpi", "Bearertoken x", "Bearer-x y", "", f"DPoP {TOKEN}", f" Bearer {TOKEN}"]
)
def test_another_scheme_is_no_bearer_token(header: str) -> None:
    """RFC 6750 §3: who has sent none is told nothing about errors."""
    assert read_token([header]) is None
    status, code, headers = refusal(admit(CORE, [header]))
    assert (status, code, headers["WWW-Authenticate"]) == (401, "missing_token", 'Bearer realm="payymo"')


def test_no_header_is_no_bearer_token() -> None:
    """The same answer."""
    assert refusal(admit(CORE, []))[:2] == (401, "missing_token")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN} ",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {TOKEN},Bearer {TOKEN}",
        f"Bearer {TOKEN}, Basic YTpi",
        f"Bearer\t{TOKEN}",
        f"Bearer {TOKEN}\n",
        f"Bearer\n{TOKEN}",
        f"Bearer\u00a0{TOKEN}",
        f'Bearer "{TOKEN}"',
        f"Bearer token={TOKEN}",
        f"Bearer {TOKEN}\x00",
        f"Bearer {TOKEN}é",
        f"Bearer ={TOKEN}",
    ],
)
def test_one_token_and_nothing_else(header: str) -> None:
    """RFC 6750 §2.1: whatever could be read in two ways is read in none."""
    outcome = admit(CORE, [header])
    assert isinstance(outcome, Answer)
    assert outcome.status == 401


@pytest.mark.parametrize("other", [f"Bearer {TOKEN}", "Basic YTpi", ""])
def test_several_headers_are_refused(other: str) -> None:
    """Somebody on the way may have looked at the other one."""
    for headers in ([f"Bearer {TOKEN}", other], [other, f"Bearer {TOKEN}"]):
        assert refusal(admit(CORE, headers))[:2] == (401, "invalid_token")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        TOKEN[:-2],
        FakeIssuer().mint(permissions=READ),
        EXPIRED,
        "." * 1_000_000,
        "a" * 9000,
    ],
    ids=["word", "three", "cut", "foreign", "expired", "dots", "long"],
)
def test_every_refused_token_gets_the_same_answer(token: str) -> None:
    """Strangers learn that it is not valid, and nothing else."""
    expected = admit(CORE, ["Bearer x"])
    assert admit(CORE, [f"Bearer {token}"]) == expected
    status, code, headers = refusal(expected)
    assert (status, code) == (401, "invalid_token")
    assert headers["WWW-Authenticate"] == 'Bearer realm="payymo", error="invalid_token"'


def test_a_lacking_permission_is_named() -> None:
    """RFC 6750 §3.1: what the route requires, so that a client can ask for it."""
    outcome = admit(CORE, [f"Bearer {TOKEN}"], ("invoices:read", "invoices:write"))
    status, code, headers = refusal(outcome)
    assert (status, code) == (403, "insufficient_scope")
    challenge = 'Bearer realm="payymo", error="insufficient_scope", scope="invoices:read invoices:write"'
    assert headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("granted", ["invoices:read", "invoices:*", "*:read", "*:*"])
def test_wildcards_grant(granted: str) -> None:
    """As `Claims.allows` says."""
    assert isinstance(admit(CORE, [f"Bearer {ISSUER.mint(permissions=(granted,))}"], READ), Claims)


@pytest.mark.parametrize("granted", ["*", "invoices", "invoices:write", "users:*", "invoices:rea", "Invoices:read"])
def test_what_is_no_grant_is_none(granted: str) -> None:
    """No prefix, no other case, no bare star."""
    assert refusal(admit(CORE, [f"Bearer {ISSUER.mint(permissions=(granted,))}"], READ))[0] == 403


@pytest.mark.parametrize("code", ["revocations_stale", "keys_unavailable"])
def test_what_the_token_is_not_to_blame_for_is_503(code: Any) -> None:
    """The client keeps its token and tries again."""
    status, told, headers = refusal(admit(Broken(Refused(code, "detail")), ["Bearer x"]))
    assert (status, told, headers["Retry-After"]) == (503, "unavailable", "1")
    assert "WWW-Authenticate" not in headers


@pytest.mark.parametrize("outcome", [RuntimeError(f"secret {TOKEN}"), KeyError(TOKEN), None, True, {"sub": "root"}])
def test_a_check_that_fails_lets_nobody_in(outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Also one that answers something else than claims. The log says where, and nothing of the token."""
    with caplog.at_level(logging.DEBUG):
        assert refusal(admit(Broken(outcome), [f"Bearer {TOKEN}"]))[:2] == (503, "unavailable")
        assert refusal(asyncio.run(admit_async(Broken(outcome), [f"Bearer {TOKEN}"])))[0] == 503
    assert "nobody is let in" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN.split(".")[1] not in caplog.text


def test_the_log_has_the_code_of_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    """What strangers are not told."""
    with caplog.at_level(logging.INFO):
        admit(CORE, [f"Bearer {EXPIRED}"])
    assert "token_expired" in caplog.text


def test_a_pinned_tenant_is_the_only_one() -> None:
    """Texts and UUIDs."""
    tenant = uuid.UUID("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
    header = [f"Bearer {ISSUER.mint(tenant_id=str(tenant))}"]
    assert isinstance(admit(CORE, header, tenant=lambda: str(tenant)), Claims)
    assert isinstance(admit(CORE, header, tenant=lambda: tenant), Claims)
    assert refusal(admit(CORE, header, tenant=lambda: uuid.UUID(int=1)))[:2] == (401, "invalid_token")
    assert refusal(admit(CORE, header, tenant=lambda: str(tenant).upper()))[0] == 401


@pytest.mark.parametrize("nobody", [None, "", 0, False, b"acme", ["acme"]])
def test_a_pin_that_names_no_tenant_lets_nobody_in(nobody: object) -> None:
    """None must not mean: any tenant."""
    assert refusal(admit(CORE, [f"Bearer {TOKEN}"], tenant=lambda: nobody))[:2] == (401, "invalid_token")


def test_a_pin_that_fails_lets_nobody_in() -> None:
    """As everything else that fails."""
    assert refusal(admit(CORE, [f"Bearer {TOKEN}"], tenant=lambda: {}["tenant"]))[0] == 503


@pytest.mark.parametrize(
    "permission", ["invoices", "", "invoices:", ":read", "*:read", "invoices:*", "a:b:c", 'a:"b', "a:b c", "a:é", print]
)
def test_a_requirement_that_nobody_could_fulfil_is_an_error_at_once(permission: object) -> None:
    """And not a 403 for ever. Also `@require` without its parentheses."""
    with pytest.raises(ValueError, match="permission"):
        concrete([permission])


def test_both_ways_of_asking_give_the_same_answer() -> None:
    """With and without an event loop."""
    for headers in ([], ["Bearer x"], [f"Bearer {TOKEN}"], ["Basic x", "Bearer y"]):
        for permissions in ((), READ, ("users:write",)):
            assert asyncio.run(admit_async(CORE, headers, permissions)) == admit(CORE, headers, permissions)


# ── on an event loop ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_event_loop_goes_on_while_a_verifier_waits() -> None:
    """One that waits for what only the loop does: on the loop it would wait for ever."""
    happened = threading.Event()

    class Waiting:
        def verify(self, token: str, *, tenant_id: str | None = None) -> Claims:
            assert happened.wait(20)
            return CORE.verify(token, tenant_id=tenant_id)

    async def both() -> Claims | Answer:
        asyncio.get_running_loop().call_soon(happened.set)
        return await admit_async(Waiting(), [f"Bearer {TOKEN}"])

    assert isinstance(asyncio.run(both()), Claims)


class Network:
    """A source of keys and revocations that notes in which thread it is asked for what may be far away."""

    usable_until = float("inf")

    def __init__(self, revocations: Revocations) -> None:
        self.revocations = revocations
        self.kids: tuple[str, ...] = (ISSUER.active_kid,)
        self.threads: list[threading.Thread] = []
        revocations.as_of = system_elapsed()

    @property
    def keys(self) -> "Network":
        return self

    def start(self) -> None:
        """Nothing to begin."""

    def wait(self) -> None:
        self.threads.append(threading.current_thread())

    def find(self, kid: str) -> VerificationKey | None:
        if kid not in self.kids:
            self.threads.append(threading.current_thread())  # it would look once more
            return None
        return ISSUER.find(kid)

    def ask(self, token: str) -> None:  # noqa: ARG002 - everything is active
        self.threads.append(threading.current_thread())

    def status(self) -> SourceStatus:
        return SourceStatus(cursor=None, kids=self.kids, started_at=None, last_error=None)

    def after_fork(self) -> None:
        """Nothing to renew."""

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def network() -> Iterator[tuple[Guard, Network]]:
    """A guard, and what it asks."""
    made: list[Network] = []

    def make(revocations: Revocations) -> Network:
        made.append(Network(revocations))
        return made[0]

    with Guard(
        issuer=ISSUER.issuer, audience=ISSUER.audience, source=make, when_stale="ask", max_stale_seconds=60
    ) as guard:
        yield guard, made[0]


def test_what_may_have_to_be_fetched_is_fetched_in_a_thread(network: tuple[Guard, Network]) -> None:
    """A key that nobody knows, or knows no longer; an issuer that has to be asked, or nearly."""
    guard, source = network
    unknown = ISSUER.sign(ISSUER.claims(), header={"alg": "ES256", "typ": "at+jwt", "kid": "nobody"})

    async def ask(token: str) -> bool:
        """Whether the source was asked for something far away; never on the loop."""
        source.threads.clear()
        await admit_async(guard, [f"Bearer {token}"])
        assert threading.current_thread() not in source.threads
        return bool(source.threads)

    async def all_of_them() -> None:
        assert not await ask(TOKEN)
        assert await ask(unknown)
        source.revocations.as_of = system_elapsed() - 61
        assert await ask(TOKEN)
        source.revocations.as_of = system_elapsed()
        source.kids = ()
        assert await ask(TOKEN)

    asyncio.run(all_of_them())


def test_what_is_in_memory_is_answered_on_the_loop(network: tuple[Guard, Network]) -> None:
    """Where the key is known and the revocations are new, also for a token that was never here."""
    guard, source = network
    assert not answers_at_once(guard, TOKEN)
    asyncio.run(admit_async(guard, [f"Bearer {TOKEN}"]))
    assert answers_at_once(guard, TOKEN)
    assert answers_at_once(guard, ISSUER.mint())
    assert not answers_at_once(guard, FakeIssuer(algorithm="EdDSA").mint())
    for age, expected in ((53, True), (55, False), (61, False)):  # of 60, with a tenth in reserve
        source.revocations.as_of = system_elapsed() - age
        assert answers_at_once(guard, TOKEN) is expected
    source.revocations.as_of = system_elapsed()
    source.kids = ()
    assert not answers_at_once(guard, TOKEN)


def test_keys_that_are_gone_make_room_for_new_ones() -> None:
    """A process sees any number of them: what knows their names must not be full one day, each token a thread's."""
    issuer = FakeIssuer()

    class Rotating(Network):
        def find(self, kid: str) -> VerificationKey | None:
            return issuer.find(kid)

        def status(self) -> SourceStatus:
            return SourceStatus(None, (issuer.active_kid,), None, None)

    with Guard(issuer=issuer.issuer, audience=issuer.audience, source=Rotating, max_stale_seconds=60) as guard:
        for _ in range(MAX_HEADERS + 1):
            issuer.rotate("EdDSA")
            asyncio.run(admit_async(guard, [f"Bearer {issuer.mint()}"]))
        assert answers_at_once(guard, issuer.mint())


def test_strangers_headers_are_not_remembered(network: tuple[Guard, Network]) -> None:
    """What is refused leaves nothing behind."""
    guard, _ = network
    foreign = FakeIssuer()
    foreign.rotate("EdDSA")
    asyncio.run(admit_async(guard, [f"Bearer {foreign.mint()}"]))
    assert not answers_at_once(guard, foreign.mint())


def test_what_is_revoked_is_refused_on_the_loop_too() -> None:
    """By a whole guard, with the next request."""
    issuer = FakeIssuer()

    async def both() -> list[bool]:
        with issuer.guard() as guard:
            header = [f"Bearer {issuer.mint()}"]
            first = await admit_async(guard, header)
            issuer.revoke_session()
            return [isinstance(found, Claims) for found in (first, await admit_async(guard, header))]

    assert asyncio.run(both()) == [True, False]
