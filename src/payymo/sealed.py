"""What a sealed value is at rest. `payymo.secrets` seals and opens; whoever stores one needs to know no more."""

import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed value, and the data key that opens it."""

    data: bytes
    data_key_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row with a sealed value: what finds it, and the place that the value is bound to."""

    key: tuple[str | int | uuid.UUID, ...]
    place: tuple[str, ...]
    sealed: Sealed
