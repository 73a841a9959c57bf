"""A master key in a hardware token: it wraps data keys, and never leaves the token."""

import os
import subprocess
import sys
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType

from payymo.entropy import Entropy
from payymo.errors import Misconfigured, Unavailable
from payymo.secrets.hsm import HardwareToken, TokenUri, hardware_token
from payymo.secrets.hsm_master import make_master_key, open_master_key
from payymo.secrets.model import Access, MasterKey, TokenAccess
from tests.support.crew import Crew
from tests.support.softhsm import LABEL, PIN, SoftHsm

PLACE = ("data_keys", "service", "1")
VALUE = bytes(range(32))


def uri_of(request: pytest.FixtureRequest) -> str:
    return f"pkcs11:token={LABEL};object=of-{abs(hash(request.node.nodeid))}"


@pytest.fixture
def uri(hsm: SoftHsm, request: pytest.FixtureRequest) -> str:
    """The URI of a master key of this test's own."""
    return make_master_key(uri_of(request), "here", hsm.access)


@pytest.fixture
def key(hsm: SoftHsm, uri: str) -> MasterKey:
    return open_master_key(uri, "here", hsm.access, Entropy())


def test_the_id_belongs_to_the_key_and_not_to_its_name(hsm: SoftHsm, uri: str, key: MasterKey) -> None:
    """Somebody who makes another key under the same name can't let it pass for this one."""
    assert open_master_key(uri, "elsewhere", hsm.access, Entropy()).id == key.id
    label = TokenUri.parse(uri, "here").object

    def destroy(session: pkcs11.Session) -> None:
        session.get_key(label=label).destroy()

    hardware_token(hsm.token, LABEL, "here").use(destroy)
    with pytest.raises(Misconfigured, match="generate-master"):
        open_master_key(uri, "here", hsm.access, Entropy())
    make_master_key(uri, "here", hsm.access)
    assert open_master_key(uri, "here", hsm.access, Entropy()).id != key.id


def test_the_key_never_leaves_the_token(hsm: SoftHsm, uri: str) -> None:
    """Invariant 17."""
    label = TokenUri.parse(uri, "here").object

    def look(session: pkcs11.Session) -> None:
        found = session.get_key(label=label)
        assert (found[Attribute.SENSITIVE], found[Attribute.EXTRACTABLE]) == (True, False)
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            found[Attribute.VALUE]

    hardware_token(hsm.token, LABEL, "here").use(look)


@pytest.mark.parametrize(
    ("bits", "template"),
    [(256, {Attribute.EXTRACTABLE: True}), (256, {Attribute.SENSITIVE: False}), (128, {})],
    ids=["extractable", "not sensitive", "128 bits"],
)
def test_a_key_that_may_leave_the_token_is_refused(
    hsm: SoftHsm, request: pytest.FixtureRequest, bits: int, template: dict[Attribute, bool]
) -> None:
    """Then it would only seem to be safe there."""
    uri = uri_of(request)

    def make(session: pkcs11.Session) -> None:
        label = TokenUri.parse(uri, "here").object
        session.generate_key(KeyType.AES, bits, store=True, label=label, template=template)

    hardware_token(hsm.token, LABEL, "here").use(make)
    with pytest.raises(Misconfigured, match="stays in the token"):
        open_master_key(uri, "here", hsm.access, Entropy())


def test_a_key_is_made_once(hsm: SoftHsm, uri: str) -> None:
    """Two with the same name could not be told apart."""
    with pytest.raises(Misconfigured, match="already"):
        make_master_key(uri, "here", hsm.access)


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        "pkcs11:object=a",
        "pkcs11:token=a",
        "pkcs11:token=;object=a",
        "pkcs11:token=a;token=b;object=c",
        "pkcs11:token=a;object=b?pin-value=canary",
        "pkcs11:token=a;object=b;type=secret-key",
    ],
)
def test_another_uri_is_refused(hsm: SoftHsm, text: str) -> None:
    """And nothing that may be a PIN is shown."""
    with pytest.raises(Misconfigured) as refused:
        open_master_key(text, "THE_SETTING", hsm.access, Entropy())
    assert "THE_SETTING" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_uri_is_read_back_as_it_was_written() -> None:
    """RFC 7512: what is special is percent-encoded."""
    name = TokenUri("a token; with=signs", "ä?&")
    assert TokenUri.parse(str(name), "here") == name


def test_what_is_missing_is_named(hsm: SoftHsm, tmp_path: Path) -> None:
    """Never the PIN."""
    uri = f"pkcs11:token={LABEL};object=x"
    (tmp_path / "text.so").write_text("no library")
    for access, hint in (
        (Access(), "PAYYMO_PKCS11__MODULE"),
        (Access(token=TokenAccess(tmp_path / "none.so", PIN)), "none.so"),
        (Access(token=TokenAccess(tmp_path / "text.so", PIN)), "text.so"),
    ):
        with pytest.raises(Misconfigured, match=hint) as refused:
            open_master_key(uri, "here", access, Entropy())
        assert PIN not in str(refused.value)
    with pytest.raises(Misconfigured, match="nowhere"):
        open_master_key("pkcs11:token=nowhere;object=x", "here", hsm.access, Entropy())
    assert PIN not in repr(hsm.access)


PROCESS = """
import os, sys
from pathlib import Path
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.secrets.hsm import hardware_token
from payymo.secrets.hsm_master import open_master_key
from payymo.secrets.model import Access, TokenAccess
uri, module, pin = sys.argv[1], Path(os.environ["PAYYMO_PKCS11__MODULE"]), os.environ["PAYYMO_PKCS11__PIN"]
"""


def run(hsm: SoftHsm, uri: str, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS + script, uri],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | hsm.environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_wrong_pin_is_tried_once(hsm: SoftHsm, uri: str) -> None:
    """Tokens count wrong tries, and lock themselves: the process never tries again what was refused."""
    script = """
token = hardware_token(TokenAccess(module, "wrong-canary"), "payymo", "here")
for _ in range(2):
    try:
        token.use(print)
    except Misconfigured as error:
        print(error)
    # Whoever is logged in lets everybody in: a second try would succeed.
    hardware_token(TokenAccess(module, pin), "payymo", "here").use(id)
"""
    lines = run(hsm, uri, script).splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert "PAYYMO_PKCS11__PIN" in lines[0]
    assert "canary" not in lines[0]


def test_a_process_that_was_forked_begins_anew(hsm: SoftHsm, uri: str) -> None:
    """PKCS#11 §6.7.1: what a child inherits can't be used; both go on."""
    script = """
key = open_master_key(uri, "here", Access(token=TokenAccess(module, pin)), Entropy())
sealed = key.wrapper.seal(b"k" * 32, "a")
token = hardware_token(TokenAccess(module, pin), "payymo", "here")
before = token.use(lambda session: session)
child = os.fork()
now = token.use(lambda session: session)
assert (now is before) == (child != 0)
assert token.use(lambda session: session) is now
for _ in range(5):
    assert key.wrapper.open(sealed, "a") == b"k" * 32
if child == 0:
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(hsm, uri, script) == "0\n"


def test_many_threads_at_once_get_each_their_own(hsm: SoftHsm, uri: str) -> None:
    """The maker's library is not told of threads; SoftHSM corrupts its memory when two are in it."""
    script = """
from concurrent.futures import ThreadPoolExecutor
access = Access(token=TokenAccess(module, pin))
keys = [open_master_key(uri, "here", access, Entropy()) for _ in range(4)]
def work(number):
    place, key = str(number), keys[number % 4]
    return all(key.wrapper.open(key.wrapper.seal(place.encode(), place), place) == place.encode() for _ in range(50))
with ThreadPoolExecutor(8) as pool:
    print(all(pool.map(work, range(16))))
"""
    assert run(hsm, uri, script) == "True\n"


def test_a_token_that_was_away_is_found_again(hsm: SoftHsm, key: MasterKey) -> None:
    """Meanwhile nothing opens, and that is said to be a failure of now, not of the seal."""
    sealed = key.wrapper.seal(VALUE, *PLACE)
    tokens = hsm.configuration.parent / "tokens"
    tokens.rename(tokens.with_name("away"))
    try:
        for _ in range(2):
            with pytest.raises(Unavailable):
                key.wrapper.open(sealed, *PLACE)
            with pytest.raises(Unavailable):
                key.wrapper.seal(VALUE, *PLACE)
    finally:
        tokens.with_name("away").rename(tokens)
    with Crew(4) as pool:
        assert set(pool.map(lambda _: key.wrapper.open(sealed, *PLACE), range(8))) == {VALUE}


def test_two_tokens_do_not_end_each_others_sessions(hsm: SoftHsm, key: MasterKey, uri: str) -> None:
    """They share the library: when it begins again for one of them, the other one logs in again, and nothing more."""
    sealed = key.wrapper.seal(VALUE, *PLACE)
    other = HardwareToken(hsm.token, LABEL)
    begun = []

    def lose(session: pkcs11.Session) -> str:
        begun.append(session)
        if len(begun) == 1:
            raise pkcs11.exceptions.SessionHandleInvalid
        return "done"

    assert other.use(lose) == "done"
    assert key.wrapper.open(sealed, *PLACE) == VALUE
    last = begun[-1]
    assert other.use(lambda session: session) is last
