"""Verifies the tokens that Payymo issues, strictly, and refuses what was revoked. Knows nothing of the service."""

from payymo_guard.claims import Act, Claims, RefreshClaims, permits
from payymo_guard.errors import UNAVAILABLE, Refused
from payymo_guard.guard import Guard, GuardStatus
from payymo_guard.keyset import KeySet, VerificationKey
from payymo_guard.staleness import Staleness
from payymo_guard.verify import Verifier

__all__ = [
    "UNAVAILABLE",
    "Act",
    "Claims",
    "Guard",
    "GuardStatus",
    "KeySet",
    "RefreshClaims",
    "Refused",
    "Staleness",
    "VerificationKey",
    "Verifier",
    "permits",
]
