"""Private signing keys in a hardware token: RS256, PS256 and ES256, by keys that can't be taken out of it."""

import hashlib
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass, exceptions
from pkcs11.util.ec import encode_named_curve_parameters

from payymo.entropy import Entropy
from payymo.errors import Misconfigured, Unavailable
from payymo.keys.signer import RSA_BITS, PublicKey, Sign
from payymo.secrets.hsm import HardwareToken, TokenGone, TokenUri, find_objects, hardware_token
from payymo.secrets.model import Access

SOURCE: Final = "PAYYMO_KEYS__ACCESS_AT"
LABEL: Final = "payymo-"
_PRIVATE: Final = {Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True}
_MECHANISMS: Final[dict[str, tuple[Any, Any]]] = {
    "RS256": (Mechanism.SHA256_RSA_PKCS, None),
    "PS256": (Mechanism.SHA256_RSA_PKCS_PSS, (Mechanism.SHA256, MGF.SHA256, 32)),
    "ES256": (Mechanism.ECDSA, None),
}


class HardwareKeys:
    """Signing keys in one token, each with a label of its own that begins with `payymo-`."""

    def __init__(self, place: str, access: Access, entropy: Entropy) -> None:
        self._name = TokenUri.parse(place, SOURCE).token
        self._token = hardware_token(access.token, self._name, SOURCE)
        self._entropy = entropy

    def make(self, algorithm: str) -> tuple[PublicKey, str]:
        """See KeyPlace."""
        if algorithm not in _MECHANISMS:
            raise Misconfigured([f"{SOURCE}: keys in a token sign {', '.join(_MECHANISMS)}, and not {algorithm}"])
        label = LABEL + self._entropy.token(12)
        make = _make_curve_key if algorithm == "ES256" else _make_rsa_key
        try:
            public = self._token.use(lambda session: make(session, label))
        except exceptions.PKCS11Error as error:
            raise Unavailable(private=f"the token {self._name!r} makes no key: {_name(error)}") from None
        return public, str(TokenUri(self._name, label))

    def signer(self, location: str, algorithm: str) -> Sign:
        """See KeyPlace."""
        label = TokenUri.parse(location, SOURCE).object or ""
        try:
            found = self._token.use(lambda session: find_objects(session, ObjectClass.PRIVATE_KEY, label))
        except exceptions.PKCS11Error as error:
            raise Unavailable(private=f"{location}: can't be looked for: {_name(error)}") from None
        if not found:
            raise Misconfigured([f"{location}: there is no such private key in the token"])
        return _HardwareSigner(self._token, label, algorithm)

    def destroy(self, location: str) -> None:
        """See KeyPlace."""
        label = TokenUri.parse(location, SOURCE).object or ""

        def remove(session: Any) -> None:
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for found in find_objects(session, kind, label):
                    found.destroy()

        try:
            self._token.use(remove)
        except exceptions.PKCS11Error as error:
            raise Unavailable(private=f"{location}: can't be destroyed: {_name(error)}") from None


class _HardwareSigner:
    """Signs with one key. What it holds of the key counts for one session with the token."""

    def __init__(self, token: HardwareToken, label: str, algorithm: str) -> None:
        self._token = token
        self._label = label
        self._is_curve = algorithm == "ES256"
        self._mechanism, self._parameter = _MECHANISMS[algorithm]
        self._key: tuple[Any, Any] | None = None

    def __call__(self, message: bytes) -> bytes:
        """The JWS signature (RFC 7518 §3.3 to §3.5). Raises Unavailable."""
        data = hashlib.sha256(message).digest() if self._is_curve else message  # few tokens hash for ECDSA

        def sign(session: Any) -> bytes:
            if self._key is None or self._key[0] is not session:
                found = find_objects(session, ObjectClass.PRIVATE_KEY, self._label)
                if not found:
                    raise TokenGone(f"the key {self._label!r} is gone")
                self._key = session, found[0]
            return bytes(self._key[1].sign(data, mechanism=self._mechanism, mechanism_param=self._parameter))

        try:
            return self._token.use(sign)
        except exceptions.PKCS11Error as error:
            raise Unavailable(private=f"the token does not sign with {self._label!r}: {_name(error)}") from None


def _make_rsa_key(session: Any, label: str) -> PublicKey:
    public, _ = session.generate_keypair(
        KeyType.RSA, RSA_BITS, label=label, id=label.encode(), store=True, private_template=_PRIVATE
    )
    exponent, modulus = public[Attribute.PUBLIC_EXPONENT], public[Attribute.MODULUS]
    return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()


def _make_curve_key(session: Any, label: str) -> PublicKey:
    domain = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    public, _ = domain.generate_keypair(label=label, id=label.encode(), store=True, private_template=_PRIVATE)
    point = bytes(public[Attribute.EC_POINT])[-65:]  # without the DER octet string around it, where there is one
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def _name(error: Exception) -> str:
    return type(error).__name__
