"""Signed bodies: which are accepted, and that each is accepted once."""

import base64
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payymo_guard.webhooks import (
    FORGET_SECONDS,
    SWEEP_SECONDS,
    Memory,
    SignatureRefused,
    WebhookVerifier,
    read_secret,
    sign,
)

NOW = 1_800_000_000
SECRET, OTHER = b"0123456789abcdef01234567", b"another secret of 24 bytes"
BODY = b'{"amount": 100}'


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def verifier(*secrets: bytes, clock: Clock | None = None, memory: Memory | None = None) -> WebhookVerifier:
    return WebhookVerifier(secrets or (SECRET,), memory=memory or Memory(), clock=clock or Clock())


def refusal(found: WebhookVerifier, headers: dict[str, str], body: bytes = BODY) -> str:
    with pytest.raises(SignatureRefused) as refused:
        found.verify(headers, body)
    return refused.value.code


def test_the_form_is_that_of_standard_webhooks() -> None:
    """Their published example: other senders' libraries sign the same."""
    secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signed_body_is_accepted_once() -> None:
    """Which message it is, and when it was signed; then it is a replay."""
    found, headers = verifier(), sign(SECRET, "msg_1", NOW, BODY)
    accepted = found.verify(headers, BODY)
    assert (accepted.identifier, accepted.signed_at) == ("msg_1", NOW)
    assert refusal(found, headers) == "signature_replayed"


def test_another_try_of_the_sender_is_no_replay() -> None:
    """The same identifier, signed again later: what failed can be repeated."""
    found = verifier()
    for moment in (NOW, NOW + 5):
        assert found.verify(sign(SECRET, "msg_1", moment, BODY), BODY).identifier == "msg_1"


@pytest.mark.parametrize(("seconds", "accepted"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_signature_counts_for_five_minutes_each_way(seconds: int, accepted: bool) -> None:  # noqa: FBT001 - a table
    """To the second; and as long as it counts, it is remembered."""
    clock = Clock()
    found = verifier(clock=clock)
    headers = sign(SECRET, "msg_1", NOW + seconds, BODY)
    if not accepted:
        assert refusal(found, headers) == "signature_outdated"
        return
    found.verify(headers, BODY)
    clock.now = NOW + seconds + 300
    assert refusal(found, headers) == "signature_replayed"
    clock.now += 1
    assert refusal(found, headers) == "signature_outdated"


def test_two_secrets_while_one_takes_the_others_place() -> None:
    """And a function is asked each time, so that the process need not be started again."""
    accepted = [SECRET]
    found = WebhookVerifier(lambda: accepted, memory=Memory(), clock=Clock())
    assert refusal(found, sign(OTHER, "msg_1", NOW, BODY)) == "signature_wrong"
    accepted.append(OTHER)
    for number, secret in enumerate((SECRET, OTHER)):
        assert found.verify(sign(secret, f"msg_{number}", NOW, BODY), BODY)
    accepted.remove(SECRET)
    assert refusal(found, sign(SECRET, "msg_3", NOW, BODY)) == "signature_wrong"


def test_one_of_several_signatures_is_enough_and_ten_are_the_most() -> None:
    """A sender that changes its secret signs with both."""
    one, other = (sign(secret, "msg_1", NOW, BODY) for secret in (OTHER, SECRET))
    both = one | {"webhook-signature": f"v1a,x {one['webhook-signature']} {other['webhook-signature']}"}
    assert verifier().verify(both, BODY)
    many = one | {"webhook-signature": " ".join(["v1,x"] * 10 + [other["webhook-signature"]])}
    assert refusal(verifier(), many) == "signature_malformed"


@pytest.mark.parametrize("first", [(0,), (1,), (0, 1), (1, 0)])
@pytest.mark.parametrize("again", [(0,), (1,), (0, 1), (1, 0)])
@pytest.mark.parametrize("accepted", [[(SECRET, OTHER)] * 2, [(SECRET, OTHER), (OTHER, SECRET)]])
def test_a_body_with_two_signatures_is_accepted_once_by_whichever(
    first: tuple[int, ...], again: tuple[int, ...], accepted: list[tuple[bytes, ...]]
) -> None:
    """While a secret is changed, a copy without one of the signatures is the same message."""
    memory, signatures = Memory(), [sign(secret, "msg_1", NOW, BODY) for secret in (SECRET, OTHER)]
    tries = [
        signatures[0] | {"webhook-signature": " ".join(signatures[one]["webhook-signature"] for one in chosen)}
        for chosen in (first, again)
    ]
    assert verifier(*accepted[0], memory=memory).verify(tries[0], BODY)
    assert refusal(verifier(*accepted[1], memory=memory), tries[1]) == "signature_replayed"


@pytest.mark.parametrize(
    ("before", "after"), [((SECRET,), (OTHER,)), ((OTHER,), (SECRET,)), ((SECRET,), (OTHER, SECRET))]
)
def test_what_came_before_the_secret_was_changed_does_not_come_again(
    before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    """A sender that changes its secret signs with both; the receiver changes at once, or for a while accepts both."""
    memory, signatures = Memory(), [sign(secret, "msg_1", NOW, BODY) for secret in (SECRET, OTHER)]
    both = signatures[0] | {"webhook-signature": " ".join(one["webhook-signature"] for one in signatures)}
    assert verifier(*before, memory=memory).verify(both, BODY)
    for headers in (both, signatures[(SECRET, OTHER).index(after[0])]):
        assert refusal(verifier(*after, memory=memory), headers) == "signature_replayed"


def test_what_is_no_signature_of_ours_does_not_count() -> None:
    """A sender may put the same into every message."""
    found = verifier()
    for number in range(2):
        headers = sign(SECRET, f"msg_{number}", NOW, BODY)
        always = headers | {"webhook-signature": f"v2,always {headers['webhook-signature']}"}
        assert found.verify(always, BODY)


def test_senders_do_not_use_up_each_others(tmp_path: Path) -> None:
    """The same identifier, time and body from two of them, with one memory."""
    memory = Memory(tmp_path / "seen.db")
    for secret in (SECRET, OTHER):
        assert verifier(secret, memory=memory).verify(sign(secret, "msg_1", NOW, BODY), BODY)
    memory.close()


@given(part=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "body"]), data=st.data())
def test_whatever_is_changed_is_refused(part: str, data: st.DataObject) -> None:
    """Identifier, time, signature and body are all signed."""
    headers, body = sign(SECRET, "msg_1", NOW, BODY), BODY
    if part == "body":
        body = data.draw(st.binary().filter(lambda changed: changed != BODY))
    else:
        headers[part] = data.draw(st.text(max_size=60).filter(lambda changed: changed != headers[part]))
    with pytest.raises(SignatureRefused):
        verifier().verify(headers, body)


def test_nothing_slips_from_the_identifier_into_the_time_or_the_body() -> None:
    """The dots between them are signed, and none is in an identifier."""
    headers = sign(SECRET, "msg", NOW, b"1.body")
    assert refusal(verifier(), headers | {"webhook-id": f"msg.{NOW}", "webhook-timestamp": "1"}, b"body") == (
        "signature_malformed"
    )


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_said(missing: str) -> None:
    """Before anything else."""
    headers = sign(SECRET, "msg_1", NOW, BODY)
    del headers[missing]
    assert refusal(verifier(), headers) == "signature_missing"


@pytest.mark.parametrize("secrets", [(), (b"",), (b"x" * 23,), (SECRET, b"short")])
def test_short_and_missing_secrets_are_refused_when_the_verifier_is_made(secrets: tuple[bytes, ...]) -> None:
    """CVE-2026-102266: an empty key would let anybody sign."""
    with pytest.raises(ValueError, match="at least 24 bytes"):
        WebhookVerifier(secrets, memory=Memory())


def test_secrets_that_run_out_refuse_everything() -> None:
    """A function that answers nothing any more must not let everything in."""
    accepted = [SECRET]
    found = WebhookVerifier(lambda: accepted, memory=Memory(), clock=Clock())
    accepted.clear()
    with pytest.raises(ValueError, match="at least 24 bytes"):
        found.verify(sign(b"", "msg_1", NOW, BODY), BODY)


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"x" * 23).decode(), "THE-SECRET"]
)
def test_what_is_no_secret_is_refused_without_being_shown(text: str) -> None:
    """Invariant 17."""
    with pytest.raises(ValueError, match="a webhook secret is whsec_") as refused:
        read_secret(text)
    assert text in {"", "whsec_"} or text not in str(refused.value)


def test_of_many_threads_with_one_message_one_gets_in(tmp_path: Path) -> None:
    """Each with a memory of its own on one file, as in processes of one machine."""
    headers = sign(SECRET, "msg_1", NOW, BODY)

    def try_it(_number: int) -> bool:
        memory = Memory(tmp_path / "seen.db")
        try:
            verifier(memory=memory).verify(headers, BODY)
        except SignatureRefused:
            return False
        finally:
            memory.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_it, range(16))) == 1


def test_what_is_over_is_forgotten_once_in_a_while(tmp_path: Path) -> None:
    """And not with each message: processes that forget nothing would wait for one another. A clock may go back."""
    path, memory = tmp_path / "seen.db", Memory(tmp_path / "seen.db")

    def kept() -> int:
        with closing(sqlite3.connect(path)) as connection:
            found: int = connection.execute("SELECT count(*) FROM seen").fetchone()[0]
            return found

    assert memory.is_first(b"old", now=NOW, until=NOW + 1)
    over = NOW + 1 + FORGET_SECONDS
    for now, count in ((over, 2), (over + 1, 3), (over + SWEEP_SECONDS - 1, 4), (over + SWEEP_SECONDS, 4)):
        assert memory.is_first(b"%d" % now, now=now, until=over + 10_000)
        assert kept() == count
    assert memory.is_first(b"back", now=NOW, until=NOW + 1)
    memory.close()


TRY = """
import sys
from pathlib import Path
from payymo_guard.webhooks import Memory, SignatureRefused, WebhookVerifier, sign
secret, now, body = b"0123456789abcdef01234567", 1_800_000_000, b"{}"
try:
    found = WebhookVerifier([secret], memory=Memory(Path(sys.argv[1])), clock=lambda: now)
    found.verify(sign(secret, "msg_1", now, body), body)
except SignatureRefused:
    sys.exit(3)
"""


def test_of_many_processes_with_one_message_one_gets_in(tmp_path: Path) -> None:
    """Also when all of them make the file."""
    tries = [subprocess.Popen([sys.executable, "-c", TRY, str(tmp_path / "seen.db")]) for _ in range(6)]
    assert sorted(one.wait(60) for one in tries) == [0, 3, 3, 3, 3, 3]


FORK = """
import os, signal, sys, threading
from pathlib import Path
from payymo_guard.webhooks import Memory

memory, done = Memory(Path(sys.argv[1]) if sys.argv[1:] else None), threading.Event()
assert memory.is_first(b"before", now=1, until=2)

def busy():
    number = 0
    while not done.is_set():
        number += 1
        memory.is_first(b"busy %d" % number, now=1, until=2)

threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
codes = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        again, new = (memory.is_first(digest, now=1, until=2) for digest in (b"before", b"child %d" % number))
        os._exit(0 if new and not again else 1)
    codes.append(os.waitpid(pid, 0)[1])
done.set()
for thread in threads:
    thread.join()
print(codes, file=sys.stderr)
sys.exit(any(codes))
"""


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_child_of_a_busy_process_remembers_and_goes_on(tmp_path: Path, *, is_shared: bool) -> None:
    """As under gunicorn with --preload: whoever asked in the moment of the fork is not there to let go of the lock."""
    where = [str(tmp_path / "seen.db")] if is_shared else []
    assert subprocess.run([sys.executable, "-c", FORK, *where], check=False, timeout=200).returncode == 0


def test_a_clock_that_goes_back_lets_nothing_in_again() -> None:
    """What was forgotten a moment too early would come in."""
    clock = Clock()
    found, headers = verifier(clock=clock), sign(SECRET, "msg_1", NOW, BODY)
    found.verify(headers, BODY)
    clock.now = NOW + 301
    found.verify(sign(SECRET, "msg_2", NOW + 301, BODY), BODY)
    clock.now = NOW + 300
    assert refusal(found, headers) == "signature_replayed"


def test_senders_with_one_memory_do_not_use_up_each_others_messages() -> None:
    """Identifiers can be guessed; signatures can't."""
    memory = Memory()
    verifier(OTHER, memory=memory).verify(sign(OTHER, "msg_1", NOW, BODY), BODY)
    assert verifier(memory=memory).verify(sign(SECRET, "msg_1", NOW, BODY), BODY)
