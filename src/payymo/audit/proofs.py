"""Proofs that stand on their own: checked by whoever has the log's public key, without a database or a network.

That an event is in a log is proved in the form of C2SP tlog-proof v1, which other tools read as it is. Its `extra`
line carries what the leaf was made of: the record, and on a second line, for whoever may see it, the personal data
that the record only commits to. That a log only grew from one checkpoint to another has no standard form; ours is made
the same way::

    payymo/consistency-proof@v1
    <a hash in base64, as many lines as there are>

    <the older checkpoint>

    <the newer checkpoint>
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from payymo.audit.commitments import SALT_BYTES, is_committed
from payymo.audit.merkle import HASH_BYTES, leaf_hash
from payymo.audit.merkle_proofs import verify_consistency, verify_inclusion
from payymo.audit.notes import SignedCheckpoint, VerifierKey, from_base64, open_checkpoint, to_base64
from payymo.audit.refusals import Refused

PROOF_BYTES_MAX: Final = 1024 * 1024
INCLUSION: Final = b"c2sp.org/tlog-proof@v1"
CONSISTENCY: Final = b"payymo/consistency-proof@v1"
_HASHES: Final = rb"((?:[A-Za-z0-9+/=]{44}\n){0,64})"
_INCLUSION: Final = re.compile(
    re.escape(INCLUSION) + rb"\nextra ([A-Za-z0-9+/=]+)\nindex (0|[1-9][0-9]{0,18})\n" + _HASHES + rb"\n(.+)",
    re.DOTALL,
)
_CONSISTENCY: Final = re.compile(re.escape(CONSISTENCY) + rb"\n" + _HASHES)
_COMMITMENT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Disclosure:
    """Personal data that a record commits to, and the salt of the commitment."""

    salt: bytes
    payload: bytes

    def encode(self) -> bytes:
        """One line of JSON."""
        members = {"payload": to_base64(self.payload), "salt": self.salt.hex()}
        return json.dumps(members, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, line: bytes) -> "Disclosure":
        """Of its line; one spelling only. Raises Refused."""
        members = _read_object(line) or {}
        salt, payload = members.get("salt"), members.get("payload")
        if isinstance(salt, str) and isinstance(payload, str) and _COMMITMENT.fullmatch(salt):
            found = cls(bytes.fromhex(salt), from_base64(payload))
            if found.encode() == line:
                return found
        raise Refused("proof_malformed", f"Personal data is shown with its salt of {SALT_BYTES} bytes.")


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a record is the leaf at `index` in the tree of a checkpoint, which is the bytes of a note."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    record: bytes
    disclosure: Disclosure | None = None

    def __post_init__(self) -> None:
        if not self.record or b"\n" in self.record:
            raise Refused("record_malformed", "A record is one line of JSON.")

    def encode(self) -> bytes:
        """The file: `.tlog-proof`."""
        shown = [] if self.disclosure is None else [self.disclosure.encode()]
        extra = to_base64(b"\n".join([self.record, *shown]))
        head = [INCLUSION.decode(), f"extra {extra}", f"index {self.index}", *map(to_base64, self.hashes)]
        return "\n".join([*head, "", ""]).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "InclusionProof":
        """Of the bytes of a file. Raises Refused."""
        found = _INCLUSION.fullmatch(data) if len(data) <= PROOF_BYTES_MAX else None
        if found is None:
            raise Refused("proof_malformed", "This is not a proof with a record, an index, hashes and a checkpoint.")
        record, more, shown = from_base64(found[1].decode()).partition(b"\n")
        disclosure = Disclosure.parse(shown) if more else None
        return cls(int(found[2]), _read_hashes(found[3]), found[4], record, disclosure)


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log of the newer checkpoint begins with all of the log of the older one. Both are bytes of notes."""

    hashes: tuple[bytes, ...]
    old: bytes
    new: bytes

    def encode(self) -> bytes:
        """The file."""
        head = [CONSISTENCY.decode(), *map(to_base64, self.hashes), "", ""]
        return "\n".join(head).encode() + self.old + b"\n" + self.new

    @classmethod
    def parse(cls, data: bytes) -> "ConsistencyProof":
        """Of the bytes of a file: there are no empty lines in a checkpoint but the one that ends it. Raises Refused."""
        parts = data.split(b"\n\n") if len(data) <= PROOF_BYTES_MAX else []
        head = _CONSISTENCY.fullmatch(parts[0] + b"\n") if len(parts) == 5 else None
        if head is None:
            raise Refused("proof_malformed", "This is not a proof with hashes and two checkpoints.")
        return cls(_read_hashes(head[1]), b"\n\n".join(parts[1:3]) + b"\n", b"\n\n".join(parts[3:]))


@dataclass(frozen=True, slots=True)
class Included:
    """What an inclusion proof shows."""

    signed: SignedCheckpoint
    index: int
    record: bytes
    has_personal: bool
    """Whether the record commits to personal data."""
    payload: bytes | None
    """That data, if it was shown: it is the same that was committed to."""

    def facts(self) -> dict[str, object]:
        """For people and programs."""
        payload = None if self.payload is None else self.payload.decode(errors="backslashreplace")
        shown = {"record": self.record.decode(), "has_personal": self.has_personal, "payload": payload}
        return {"proof": "inclusion", "index": self.index} | _facts(self.signed) | shown


@dataclass(frozen=True, slots=True)
class Consistent:
    """What a consistency proof shows."""

    old: SignedCheckpoint
    new: SignedCheckpoint

    def facts(self) -> dict[str, object]:
        """For people and programs."""
        return {"proof": "consistency", "old": _facts(self.old), "new": _facts(self.new)}


def check(data: bytes, keys: Sequence[VerifierKey]) -> Included | Consistent:
    """What the proof in a file shows to somebody who knows these keys of logs and witnesses. Raises Refused."""
    if data.startswith(INCLUSION):
        return check_inclusion(InclusionProof.parse(data), keys)
    if data.startswith(CONSISTENCY):
        return check_consistency(ConsistencyProof.parse(data), keys)
    raise Refused("proof_malformed", "This file is not a proof of a form that is known here.")


def check_inclusion(proof: InclusionProof, keys: Sequence[VerifierKey]) -> Included:
    """What it shows. Raises Refused."""
    signed = open_checkpoint(proof.checkpoint, keys)
    head = signed.checkpoint
    if not verify_inclusion(leaf_hash(proof.record), proof.index, head.size, proof.hashes, head.root):
        raise Refused("not_included", "This record is not in the log of this checkpoint, or not at this index.")
    commitment, shown = _commitment_of(proof.record), proof.disclosure
    if shown is not None:
        if commitment is None:
            raise Refused("nothing_committed", "Personal data is shown that the record knows nothing of.")
        if not is_committed(commitment, shown.salt, shown.payload):
            raise Refused("another_payload", "The personal data is not what the record commits to.")
    payload = None if shown is None else shown.payload
    return Included(signed, proof.index, proof.record, commitment is not None, payload)


def check_consistency(proof: ConsistencyProof, keys: Sequence[VerifierKey]) -> Consistent:
    """What it shows. Raises Refused."""
    found = Consistent(open_checkpoint(proof.old, keys), open_checkpoint(proof.new, keys))
    old, new = found.old.checkpoint, found.new.checkpoint
    if old.origin != new.origin:
        raise Refused("another_log", "The two checkpoints are of different logs.")
    if not verify_consistency(old.size, new.size, old.root, new.root, proof.hashes):
        raise Refused("not_consistent", "The newer checkpoint is not shown to go on from the older one.")
    return found


def _commitment_of(record: bytes) -> bytes | None:
    """What a record commits to, if to anything. Raises Refused: it is none."""
    members = _read_object(record)
    if members is not None:
        personal = members.get("personal")
        if personal is None:
            return None
        if isinstance(personal, str) and _COMMITMENT.fullmatch(personal):
            return bytes.fromhex(personal)
    raise Refused("record_malformed", "This record is not a JSON object, or what it commits to can't be read.")


def _read_object(line: bytes) -> dict[str, object] | None:
    """A JSON object, each member once; None when it is none."""
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _without_duplicates(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a member is there twice")
    return found


def _read_hashes(lines: bytes) -> tuple[bytes, ...]:
    hashes = tuple(map(from_base64, lines.decode().split("\n")[:-1]))
    if any(len(found) != HASH_BYTES for found in hashes):
        raise Refused("proof_malformed", "A line of this proof is not a hash.")
    return hashes


def _facts(signed: SignedCheckpoint) -> dict[str, object]:
    head = signed.checkpoint
    witnesses = [{"name": by.key.name, "time": by.time} for by in signed.witnesses]
    signature = {"key": str(signed.log.key), "witnesses": witnesses}
    return {"log": head.origin, "size": head.size, "root": to_base64(head.root)} | signature
