"""Verifies the tokens that Payymo issues, strictly. Knows nothing of the service and needs no network."""

from payymo_guard.claims import Claims, RefreshClaims, permits
from payymo_guard.errors import Refused
from payymo_guard.keyset import KeySet, VerificationKey
from payymo_guard.verify import Verifier

__all__ = ["Claims", "KeySet", "RefreshClaims", "Refused", "VerificationKey", "Verifier", "permits"]
