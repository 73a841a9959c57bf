"""What a check of a log comes to: what is wrong, where, and what the check can't promise. Pure."""

import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal[
    "edited",
    "removed",
    "inserted",
    "reordered",
    "truncated",
    "rewritten",
    "unreadable",
    "columns",
    "duplicate",
    "payload",
    "tile",
    "head",
    "checkpoint",
]
"""edited, removed, inserted, reordered, truncated: what was done to the events · rewritten: one of these, to the events
and to the tree above them, so that the events can't be told apart · unreadable: no record of ours · columns: what is
searched is not what was recorded · duplicate: a record that is there twice · payload: personal data that is not what
the record commits to · tile, head, checkpoint: the events are right, and what is stored above them is not."""


OF_THE_TREE: Final = frozenset({"edited", "removed", "inserted", "reordered", "truncated", "rewritten"})
ABOVE: Final[frozenset[Kind]] = frozenset({"tile", "head", "checkpoint"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was recorded. It lies at one position, or within a range of them."""

    kind: Kind
    first: int
    last: int
    detail: str

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """What comes first: events before what is stored above them; the first; what the tree says before the rest."""
        return (self.kind in ABOVE, self.first, self.kind not in OF_THE_TREE)

    def facts(self) -> dict[str, Any]:
        """For people and programs."""
        return {"kind": self.kind, "first": self.first, "last": self.last, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Personal:
    """What became of personal data: how many payloads are what was committed to, and how many have been erased."""

    held: int = 0
    erased: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What the check of one log has found."""

    log: uuid.UUID | None
    origin: str
    size: int
    """Events that the log has ever had."""
    checked: int
    """Events that were read, or whose hashes were, where they were removed by age."""
    removed_by_age: int
    waiting: int
    """Events that have been committed and have no position yet: nothing protects them."""
    signed: int
    """The size of the newest checkpoint that holds."""
    outside: int | None
    """The size of the newest checkpoint from outside that holds; None: none was given."""
    checkpoints: int
    findings: tuple[Finding, ...]
    personal: Personal | None
    is_complete: bool
    has_outside_keys: bool

    @property
    def is_intact(self) -> bool:
        """Whether all of it was checked, and nothing was found."""
        return self.is_complete and not self.findings

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.findings:
            return self.findings[0].kind
        return "intact" if self.is_complete else "incomplete"

    def caveats(self) -> tuple[str, ...]:
        """What this check can't promise, in sentences."""
        found = []
        if self.outside is None:
            found.append(
                "no checkpoint from outside: whoever can write to the database could have cut the log off at an older "
                "signed head, or replaced what came after it, and nothing in the database would tell"
            )
        elif self.outside < self.signed:
            found.append(f"no checkpoint from outside speaks for the events from {self.outside} on")
        if not self.has_outside_keys:
            found.append("the keys are those that the database names: give those that you have kept (--key)")
        if self.removed_by_age:
            found.append(
                f"only the log itself says that {self.removed_by_age} events were removed by age, and whoever writes "
                "to the database can have it say so: compare its audit.removed with how long you have it kept"
            )
        if self.signed < self.size:
            found.append(f"the newest {self.size - self.signed} events are in no signed checkpoint (yet)")
        if self.waiting:
            found.append(f"{self.waiting} events have no position yet: nothing protects them")
        if not self.is_complete:
            found.append(f"the check was interrupted after {self.checked} events")
        return tuple(found)

    def facts(self) -> dict[str, Any]:
        """For people and programs."""
        personal = self.personal and {"held": self.personal.held, "erased": self.personal.erased}
        return {
            "log": self.origin,
            "verdict": self.verdict,
            "size": self.size,
            "checked": self.checked,
            "signed": self.signed,
            "outside": self.outside,
            "checkpoints": self.checkpoints,
            "removed_by_age": self.removed_by_age,
            "waiting": self.waiting,
            "personal": personal,
            "findings": [finding.facts() for finding in self.findings],
            "caveats": list(self.caveats()),
        }
