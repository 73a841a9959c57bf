"""Where the master key comes from: the setting, the file that it names, or a file in the data folder.

The key is written as `payymo-key:` and 32 bytes in base64url; a development key says `payymo-development-key:`, so that
no copy of it is ever mistaken for a real one.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from pathlib import Path

from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.files import make_private_folder, read_private, require_private_folder, write_once

PREFIX = "payymo-key:"
DEVELOPMENT_PREFIX = "payymo-development-key:"
FILE_NAME = "master.key"
FILE_URI = "file:"


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """The key that everything at rest is sealed under. Its `repr` hides it."""

    value: bytes
    is_development: bool
    source: str

    @property
    def id(self) -> str:
        """Names the key without telling anything of it: the database says by this what is wrapped under it."""
        return hmac.digest(self.value, b"payymo master key id", "sha256").hex()[:32]

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
        return read_setting(setting, "PAYYMO_MASTER_KEY")
    path = data / FILE_NAME
    return _read_file(path) if path.exists() or path.is_symlink() else None


def read_setting(setting: str, source: str) -> MasterKey:
    """The master key that a setting holds, or the file that it names as `file:/path`. Raises Misconfigured."""
    if not setting.startswith(FILE_URI):
        return read_key(setting, source)
    path = Path(setting.removeprefix(FILE_URI))
    if not path.exists():
        raise Misconfigured([f"{source}: there is no file {path}"])
    return _read_file(path)


def _read_file(path: Path) -> MasterKey:
    require_private_folder(path.parent)
    return read_key(read_private(path).decode("ascii", "replace"), str(path))


def make_development_key(data: Path, entropy: Entropy) -> MasterKey:
    """A new development master key, written to the data folder (0700) as a file (0600) in one step.

    A process that is killed half-way leaves no half key; of two that start together, both use the one that came first.
    """
    make_private_folder(data)
    path = data / FILE_NAME
    try:
        write_once(path, (write_key(entropy.bytes(32), development=True) + "\n").encode(), entropy)
    except OSError as error:
        raise Misconfigured([f"{path}: can't be written ({error.strerror})"]) from None
    found = find_master_key(None, data)
    if found is None:
        raise Misconfigured([f"{path}: vanished while it was being made"])
    return found
