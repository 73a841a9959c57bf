"""Remembered tokens: faster, never more, and never a stale yes."""

import threading
from collections.abc import Callable

import pytest

from payymo_guard import Claims, KeySet, VerificationKey, Verifier
from payymo_guard.testing import FakeIssuer
from payymo_guard.verify import AHEAD_SECONDS
from tests.guard.forge import NOW, Clock, issuer, private_key, refusal


class Watched:
    """A look-up that counts real verifications, by handing out keys that stay what they are."""

    def __init__(self, keys: Callable[[str], VerificationKey | None]) -> None:
        self.keys = keys
        self.asked = 0

    def __call__(self, kid: str) -> VerificationKey | None:
        self.asked += 1
        return self.keys(kid)


def held(verifier: Verifier[Claims]) -> int:
    """How many tokens are remembered."""
    return len(verifier._fresh) + len(verifier._faded)


def test_remembered_token_gives_the_same_claims() -> None:
    """A second look gives the very claims of the first, and an equal text that is another object too."""
    fake = issuer()
    verifier = fake.verifier(cache_size=10)
    token = fake.mint()
    first = verifier.verify(token)
    assert verifier.verify(token) is first
    assert verifier.verify("".join(list(token))) is first


def test_without_a_cache_nothing_is_remembered() -> None:
    """By default each look verifies anew."""
    fake = issuer()
    verifier = fake.verifier()
    token = fake.mint()
    assert verifier.verify(token) is not verifier.verify(token)
    assert held(verifier) == 0


def test_remembered_token_still_expires() -> None:
    """A remembered token is refused from exp on, and accepted again if the clock was wrong."""
    clock = Clock()
    fake = issuer(clock=clock)
    verifier = fake.verifier(cache_size=10)
    token = fake.mint(ttl_seconds=10)
    for moment, answer in (
        (NOW, "accepted"),
        (NOW + 9, "accepted"),
        (NOW + 10, "token_expired"),
        (NOW + 11, "token_expired"),
        (NOW - AHEAD_SECONDS - 1, "token_not_yet_valid"),
        (NOW - AHEAD_SECONDS, "accepted"),
    ):
        clock.now = moment
        assert refusal(verifier, token) == answer


def test_remembered_token_is_still_pinned_to_its_tenant() -> None:
    """A token that was accepted for its tenant, or for none in particular, is refused for another."""
    fake = issuer()
    verifier = fake.verifier(cache_size=10)
    token = fake.mint(tenant_id="tenant-1")
    assert refusal(verifier, token) == "accepted"
    assert refusal(verifier, token, tenant_id="tenant-2") == "tenant_wrong"
    assert refusal(verifier, token, tenant_id="tenant-1") == "accepted"


def test_remembered_token_dies_with_its_key() -> None:
    """When the key is gone, the remembered token is refused with the next call."""
    fake = issuer()
    verifier = fake.verifier(cache_size=10)
    token = fake.mint()
    assert refusal(verifier, token) == "accepted"
    fake.retire(fake.active_kid)
    assert refusal(verifier, token) == "key_unknown"


def test_remembered_token_is_verified_anew_by_a_new_key_of_the_same_name() -> None:
    """Another key under the old name refuses the old token; the same key read again accepts it."""
    fake = issuer()
    kid = fake.active_kid
    keys = KeySet([VerificationKey(kid, "EdDSA", private_key("EdDSA").public_key())])

    def find(wanted: str) -> VerificationKey | None:
        return keys.find(wanted)

    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=find, clock=fake.clock, cache_size=9)
    token = fake.mint()
    assert refusal(verifier, token) == "accepted"
    keys = KeySet([VerificationKey(kid, "EdDSA", private_key("EdDSA", 2).public_key())])
    assert refusal(verifier, token) == "signature_invalid"
    keys = KeySet([VerificationKey(kid, "ES256", private_key("ES256").public_key())])
    assert refusal(verifier, token) == "algorithm_refused"
    keys = KeySet([VerificationKey(kid, "EdDSA", private_key("EdDSA").public_key())])
    assert refusal(verifier, token) == "accepted"


def test_key_is_asked_for_on_every_call() -> None:
    """Remembered or not, the look-up decides each time whether the key still counts."""
    fake = issuer()
    watched = Watched(fake.find)
    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=watched, clock=fake.clock, cache_size=9)
    token = fake.mint()
    for calls in range(1, 6):
        verifier.verify(token)
        assert watched.asked == calls


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_memory_is_bounded_and_the_oldest_goes_first(size: int) -> None:
    """Never more tokens are remembered than asked for; the last half of them are."""
    fake = issuer()
    verifier = fake.verifier(cache_size=size)
    tokens = [fake.mint() for _ in range(20)]
    for token in tokens:
        verifier.verify(token)
        assert held(verifier) <= size
    half = max(1, size // 2)
    assert all(verifier.recall(token) for token in tokens[-half:])
    assert not any(verifier.recall(token) for token in tokens[:-size])


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_token_that_is_in_use_is_not_forgotten(size: int) -> None:
    """However many others come by: who calls all the time pays for one signature."""
    fake = issuer()
    verifier = fake.verifier(cache_size=size)
    token = fake.mint()
    claims = verifier.verify(token)
    for _ in range(5 * size):
        verifier.verify(fake.mint())
        assert verifier.verify(token) is claims
        assert held(verifier) <= size


def test_refused_tokens_are_never_remembered() -> None:
    """Strangers can't fill the memory: what has no valid signature or no fitting claims leaves nothing behind."""
    fake = issuer()
    verifier = fake.verifier(cache_size=10)
    refusal(verifier, fake.mint()[:-4] + "AAAA")
    refusal(verifier, fake.sign(fake.claims() | {"iss": "https://other.test"}))
    refusal(verifier, fake.sign(fake.claims() | {"aud": "https://other.test"}))
    refusal(verifier, fake.sign(fake.claims() | {"sub": None}))
    assert held(verifier) == 0


@pytest.mark.parametrize("size", [-1, 1.5, True, None, "10"])
def test_cache_size_is_a_whole_number(size: int) -> None:
    """A size that isn't one is refused at construction."""
    fake = issuer()
    with pytest.raises(ValueError, match="cache_size"):
        Verifier(issuer=fake.issuer, audience=fake.audience, keys=fake.find, cache_size=size)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work` in threads that start together; the first failure is raised."""
    barrier = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_threads_get_their_own_answers() -> None:
    """Eight threads over a memory that is too small each get the claims of their own token, and forgeries fail."""
    fake = issuer()
    verifier = fake.verifier(cache_size=5)
    tokens = [(f"user-{number}", fake.mint(subject=f"user-{number}")) for number in range(16)]

    def work(number: int) -> None:
        for turn in range(300):
            subject, token = tokens[(turn * (number + 1)) % 16]
            assert verifier.verify(token).sub == subject
            assert refusal(verifier, token[:-8] + "AAAAAAAA") == "signature_invalid"

    in_threads(8, work)
    assert held(verifier) <= 5


def test_no_thread_sees_a_stale_yes() -> None:
    """Once a key was taken away, no call that begins later accepts its token, in any thread."""
    fake = FakeIssuer(algorithm="EdDSA", clock=Clock())
    for _ in range(20):
        kid = fake.rotate("EdDSA", private_key("EdDSA"))
        verifier = fake.verifier(cache_size=50)
        token = fake.mint()
        gone = threading.Event()

        def work(
            number: int,
            *,
            kid: str = kid,
            verifier: Verifier = verifier,
            token: str = token,
            gone: threading.Event = gone,
        ) -> None:
            for turn in range(200):
                if number == 0 and turn == 100:
                    fake.retire(kid)
                    gone.set()
                was_gone = gone.is_set()
                answer = refusal(verifier, token)
                assert not (was_gone and answer == "accepted")

        in_threads(4, work)
        assert refusal(verifier, token) == "key_unknown"
