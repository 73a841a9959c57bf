"""Why a token was refused: a closed list of codes, and the one exception that carries them.

The codes are part of the API. The sentences are safe for strangers: none of them repeats anything from the token.
"""

from typing import Final, Literal, TypeAlias

RefusalCode: TypeAlias = Literal[
    "token_malformed",
    "token_too_large",
    "algorithm_refused",
    "key_unknown",
    "signature_invalid",
    "type_wrong",
    "issuer_wrong",
    "audience_wrong",
    "token_expired",
    "token_not_yet_valid",
    "tenant_wrong",
    "claims_invalid",
    "token_revoked",
    "permissions_changed",
    "key_revoked",
    "revocations_stale",
    "keys_unavailable",
]

DETAILS: Final[dict[RefusalCode, str]] = {
    "token_malformed": "This is not a well-formed token.",  # nosec B105
    "token_too_large": "The token is too large.",  # nosec B105
    "algorithm_refused": "The token's algorithm is not accepted.",
    "key_unknown": "The token names a key that is not known here.",
    "signature_invalid": "The token's signature is not valid.",
    "type_wrong": "This kind of token is not accepted here.",
    "issuer_wrong": "The token comes from another issuer.",
    "audience_wrong": "The token is meant for another audience.",
    "token_expired": "The token has expired.",  # nosec B105
    "token_not_yet_valid": "The token is not valid yet.",  # nosec B105
    "tenant_wrong": "The token belongs to another tenant.",
    "claims_invalid": "The token's claims are incomplete or not well-formed.",
    "token_revoked": "The token has been revoked.",  # nosec B105
    "permissions_changed": "The permissions have changed since the token was issued: refresh it.",
    "key_revoked": "The token's key has been revoked.",
    "revocations_stale": "Whether the token has been revoked can't be told right now.",
    "keys_unavailable": "The keys that verify tokens can't be fetched right now.",
}
UNAVAILABLE: Final[frozenset[RefusalCode]] = frozenset({"revocations_stale", "keys_unavailable"})
"""Refusals that say nothing against the token: another try in a while may be accepted (HTTP: 503, not 401)."""


class Refused(Exception):
    """The token is not accepted. `code` is for programs, `detail` for people."""

    def __init__(self, code: RefusalCode, detail: str | None = None) -> None:
        self.code: RefusalCode = code
        self.detail = detail or DETAILS[code]
        super().__init__(code, self.detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
