"""Where the master key comes from: the setting, or a file in the data folder that only its owner may read.

The key is written as `payymo-key:` and 32 bytes in base64url; a development key says `payymo-development-key:`, so that
no copy of it is ever mistaken for a real one.
"""

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from payymo.entropy import Entropy
from payymo.errors import Misconfigured

PREFIX = "payymo-key:"
DEVELOPMENT_PREFIX = "payymo-development-key:"
FILE_NAME = "master.key"


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """The key that everything at rest is sealed under. Its `repr` hides it."""

    value: bytes
    is_development: bool
    source: str

    def __repr__(self) -> str:
        return f"MasterKey(source={self.source!r}, is_development={self.is_development})"


def write_key(value: bytes, *, development: bool) -> str:
    """A key as text."""
    prefix = DEVELOPMENT_PREFIX if development else PREFIX
    return prefix + base64.urlsafe_b64encode(value).decode().rstrip("=")


def read_key(text: str, source: str) -> MasterKey:
    """A key from its text.

    Raises Misconfigured, naming the source and the remedy, never the value: not our form, not 32 bytes, or so
    repetitive that no random generator made it.
    """
    text = text.strip()
    development = text.startswith(DEVELOPMENT_PREFIX)
    encoded = text.removeprefix(DEVELOPMENT_PREFIX if development else PREFIX)
    try:
        value = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != 32 or (encoded == text and not development):
        raise Misconfigured([f"{source}: not a master key. Make one with: payymo key generate-master"])
    if len(set(value)) < 16:
        raise Misconfigured([f"{source}: a weak master key. Make one with: payymo key generate-master"])
    return MasterKey(value, development, source)


def find_master_key(setting: str | None, data: Path) -> MasterKey | None:
    """The master key in effect, or None. Raises Misconfigured when there is one that can't be used."""
    if setting is not None:
        return read_key(setting, "PAYYMO_MASTER_KEY")
    path = data / FILE_NAME
    try:
        mode = path.stat()
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured([f"{path}: can't be read ({type(error).__name__})"]) from None
    if stat.S_IMODE(mode.st_mode) & 0o077 or mode.st_uid not in {os.geteuid(), 0}:
        raise Misconfigured([f"{path}: readable by others. Repair it with: chmod 600 {path}"])
    if stat.S_IMODE(data.stat().st_mode) & 0o022:
        raise Misconfigured([f"{data}: others may put another key there. Repair it with: chmod 700 {data}"])
    return read_key(text, str(path))


def make_development_key(data: Path, entropy: Entropy) -> MasterKey:
    """A new development master key, written to the data folder (0700) as a file (0600) in one step.

    A process that is killed half-way leaves no half key; of two that start together, both use the one that came first.
    """
    make_private_folder(data)
    path = data / FILE_NAME
    try:
        _write_once(path, write_key(entropy.bytes(32), development=True) + "\n", entropy)
    except OSError as error:
        raise Misconfigured([f"{path}: can't be written ({error.strerror})"]) from None
    found = find_master_key(None, data)
    if found is None:
        raise Misconfigured([f"{path}: vanished while it was being made"])
    return found


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, if it is not there. Raises Misconfigured."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured([f"{path}: this folder can't be made ({error.strerror})"]) from None


def _write_once(path: Path, text: str, entropy: Entropy) -> None:
    """The whole text, readable by its owner, or nothing. A file that is there stays as it is."""
    draft = path.with_name(f".{path.name}.{entropy.token(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
