"""Sealed values open only where and as they were sealed; master keys are found, refused and made."""

import os
import stat
from pathlib import Path

import pytest

from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.secrets.encryption import SealBroken, Sealer
from payymo.secrets.master import find_master_key, make_development_key, read_key, write_key
from payymo.secrets.model import Access
from tests.support.crew import Crew

PLACE = ("signing_keys", "kid-1", "private_key")


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(bytes(range(32)), Entropy())


def test_any_changed_bit_is_detected(sealer: Sealer) -> None:
    """Invariant 15."""
    sealed = sealer.seal(b"a private key", *PLACE)
    assert sealer.open(sealed, *PLACE) == b"a private key"
    for position in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[position] ^= bit
            with pytest.raises(SealBroken):
                sealer.open(bytes(changed), *PLACE)


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28])
def test_a_truncated_value_is_detected(sealer: Sealer, length: int) -> None:
    """Invariant 15."""
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"", *PLACE)[:length], *PLACE)


@pytest.mark.parametrize(
    "place",
    [("signing_keys", "kid-2", "private_key"), ("signing_keys", "kid-1"), ("signing_keyskid-1", "", "private_key"), ()],
)
def test_a_moved_value_is_detected(sealer: Sealer, place: tuple[str, ...]) -> None:
    """Invariant 15: the place is part of the seal, and places can't be glued together differently."""
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"x", *PLACE), *place)


def test_another_key_opens_nothing(sealer: Sealer) -> None:
    """Invariant 16."""
    with pytest.raises(SealBroken):
        Sealer(bytes(32), Entropy()).open(sealer.seal(b"x", *PLACE), *PLACE)


@pytest.mark.parametrize("text", ["", "secret", "payymo-key:", "payymo-key:AAAA", "payymo-key:" + "!" * 43, "A" * 43])
def test_what_is_no_master_key_is_refused_without_being_shown(text: str) -> None:
    """Invariants 16 and 17."""
    with pytest.raises(Misconfigured) as refused:
        read_key(text, "THE_SOURCE", Entropy())
    assert "THE_SOURCE" in str(refused.value)
    assert text == "" or text not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The remedy is in the message."""
    path = tmp_path / "master.key"
    path.write_text(write_key(os.urandom(32), development=False))
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        find_master_key(None, tmp_path, Access(), Entropy())
    path.chmod(0o600)
    assert find_master_key(None, tmp_path, Access(), Entropy()) is not None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_folder_where_others_could_put_another_key_is_refused(tmp_path: Path, mode: int) -> None:
    """Invariant 16: whoever may rename the file decides which key there is; the remedy is in the message."""
    path = tmp_path / "master.key"
    path.write_text(write_key(os.urandom(32), development=False))
    path.chmod(0o600)
    tmp_path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 700"):
        find_master_key(None, tmp_path, Access(), Entropy())
    tmp_path.chmod(0o755)
    assert find_master_key(None, tmp_path, Access(), Entropy()) is not None


def test_a_key_never_shows_itself() -> None:
    """Invariant 17."""
    key = read_key(write_key(bytes(range(32)), development=True), "here", Entropy())
    assert key.is_development
    assert "AAEC" not in repr(key)
    assert str(bytes(range(4))) not in repr(key)


def test_two_that_start_together_make_one_development_key(tmp_path: Path) -> None:
    """Invariant 14: nobody seals under a key that is then replaced; no draft is left behind, whatever the umask."""
    folder = tmp_path / "data"
    before = os.umask(0)
    try:
        with Crew(8) as pool:
            keys = list(pool.map(lambda _: make_development_key(folder, Entropy()).id, range(8)))
    finally:
        os.umask(before)
    assert len(set(keys)) == 1
    assert [path.name for path in folder.iterdir()] == ["master.key"]
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
