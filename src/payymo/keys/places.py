"""Where private signing keys are that are not in the database: in files, or in a hardware token. Chosen by URI.

The public half and the calendar are always in the database, and so is the location of the private half.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.files import make_private_folder, read_private, require_private_folder, write_once
from payymo.keys.model import DATABASE
from payymo.keys.signer import PrivateKey, PublicKey, Sign, generate, public_jwk, require_private_key, signer
from payymo.secrets.master import load_extra
from payymo.secrets.model import Access

SOURCE: Final = "PAYYMO_KEYS__ACCESS_AT"


class KeyPlace(Protocol):
    """A place where private keys are made and used."""

    def make(self, algorithm: str) -> tuple[PublicKey, str]:
        """A new key, and where its private half is. Raises Misconfigured, Unavailable."""
        ...

    def signer(self, location: str, algorithm: str) -> Sign:
        """What signs with the key that is there. Raises Misconfigured (it isn't), Unavailable."""
        ...

    def destroy(self, location: str) -> None:
        """Make sure that the key is there no more. Raises Misconfigured, Unavailable."""
        ...


class FileKeys:
    """Private keys as files of a folder, PKCS#8 in PEM, which nobody else may read."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._folder = folder
        self._entropy = entropy

    def make(self, algorithm: str) -> tuple[PublicKey, str]:
        """See KeyPlace."""
        make_private_folder(self._folder)
        require_private_folder(self._folder)
        private = generate(algorithm)
        path = self._folder / f"{public_jwk(private.public_key(), algorithm)['kid']}.pem"
        try:
            write_once(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), self._entropy)
        except OSError as error:
            raise Misconfigured([f"{path}: can't be written ({error.strerror})"]) from None
        return private.public_key(), f"file:{path}"

    def signer(self, location: str, algorithm: str) -> Sign:
        """See KeyPlace."""
        require_private_folder(self._folder)
        return signer(self._read(Path(location.removeprefix("file:"))), algorithm)

    def destroy(self, location: str) -> None:
        """See KeyPlace."""
        path = Path(location.removeprefix("file:"))
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise Misconfigured([f"{path}: can't be removed ({error.strerror})"]) from None

    def _read(self, path: Path) -> PrivateKey:
        try:
            return require_private_key(load_pem_private_key(read_private(path), password=None))
        except (ValueError, TypeError):
            raise Misconfigured([f"{path}: not a private key in PEM"]) from None


class KeyPlaces:
    """Opens the place that a URI names."""

    def __init__(self, access: Access, entropy: Entropy) -> None:
        self._access = access
        self._entropy = entropy

    def open(self, place: str) -> KeyPlace:
        """`file:/folder` or `pkcs11:token=NAME`. Raises Misconfigured."""
        scheme, _, rest = place.partition(":")
        if scheme == "pkcs11":
            opening: Callable[..., KeyPlace] = load_extra("payymo.keys.hardware", "pkcs11", SOURCE).HardwareKeys
            return opening(place, self._access, self._entropy)
        return FileKeys(Path(rest), self._entropy)


def require_place(uri: str, source: str) -> str:
    """The place, written as the locations in it begin. Raises Misconfigured for another URI."""
    scheme, _, rest = uri.partition(":")
    match scheme:
        case "database" if uri == DATABASE:
            return uri
        case "file" if Path(rest).is_absolute() and Path(rest) != Path("/"):
            return f"file:{Path(rest)}"
        case "pkcs11" if "object=" not in rest:
            return str(load_extra("payymo.secrets.hsm", "pkcs11", source).TokenUri.parse(uri, source))
        case _:
            raise Misconfigured([f"{source}: write {DATABASE}, file:/folder or pkcs11:token=NAME"])
