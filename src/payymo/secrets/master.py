"""Where the master key comes from: the setting, whoever it names, or a file in the data folder.

The key is written as `payymo-key:` and 32 bytes in base64url; a development key says `payymo-development-key:`, so that
no copy of it is ever mistaken for a real one. A setting `file:/path` names a file with such a key; `vault:…` and
`pkcs11:…` name a key that never leaves where it is, and data keys are sent there to be wrapped.
"""

import base64
import binascii
import hmac
import importlib
from pathlib import Path
from types import ModuleType
from typing import Final

from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.files import make_private_folder, read_private, require_private_folder, write_once
from payymo.secrets.encryption import Sealer
from payymo.secrets.model import Access, MasterKey

PREFIX = "payymo-key:"
DEVELOPMENT_PREFIX = "payymo-development-key:"
FILE_NAME = "master.key"
KEEPERS: Final = {"vault": "payymo.secrets.vault", "pkcs11": "payymo.secrets.hsm_master"}
"""Modules with an `open_master_key(uri, source, access, entropy)`. Loaded when they are named: their libraries are
extras of the distribution."""


def write_key(value: bytes, *, development: bool) -> str:
    """A key as text."""
    prefix = DEVELOPMENT_PREFIX if development else PREFIX
    return prefix + base64.urlsafe_b64encode(value).decode().rstrip("=")


def read_key(text: str, source: str, entropy: Entropy) -> MasterKey:
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
    key_id = hmac.digest(value, b"payymo master key id", "sha256").hex()[:32]
    return MasterKey(key_id, source, development, Sealer(value, entropy))


def find_master_key(setting: str | None, data: Path, access: Access, entropy: Entropy) -> MasterKey | None:
    """The master key in effect, or None. Raises Misconfigured when there is one that can't be used."""
    if setting is not None:
        return read_setting(setting, "PAYYMO_MASTER_KEY", access, entropy)
    path = data / FILE_NAME
    return _read_file(path, entropy) if path.exists() or path.is_symlink() else None


def read_setting(setting: str, source: str, access: Access, entropy: Entropy) -> MasterKey:
    """The master key that a setting holds, or that is kept where it says. Raises Misconfigured."""
    scheme, _, rest = setting.partition(":")
    if scheme in KEEPERS:
        found: MasterKey = load_extra(KEEPERS[scheme], scheme, source).open_master_key(setting, source, access, entropy)
        return found
    if scheme != "file":
        return read_key(setting, source, entropy)
    if not Path(rest).exists():
        raise Misconfigured([f"{source}: there is no file {rest}"])
    return _read_file(Path(rest), entropy)


def load_extra(module: str, extra: str, source: str) -> ModuleType:
    """The module, whose library is an extra of the distribution. Raises Misconfigured with the remedy."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name == module:
            raise
        raise Misconfigured([f"{source}: {missing.name} is not installed: pip install 'payymo[{extra}]'"]) from None


def _read_file(path: Path, entropy: Entropy) -> MasterKey:
    require_private_folder(path.parent)
    return read_key(read_private(path).decode("ascii", "replace"), str(path), entropy)


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
    return _read_file(path, entropy)
