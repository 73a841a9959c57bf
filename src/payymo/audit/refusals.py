"""Why a key, a note or a proof is refused. Programs go by the reason, people read the sentence."""

from typing import Literal

Reason = Literal[
    "key_malformed",
    "key_unsupported",
    "key_ambiguous",
    "note_malformed",
    "checkpoint_malformed",
    "signature_invalid",
    "signature_missing",
    "proof_malformed",
    "record_malformed",
    "not_included",
    "not_consistent",
    "another_log",
    "nothing_committed",
    "another_payload",
]
"""malformed: can't be read · key_ambiguous: two known keys have one name · signature_invalid: by a known key, and wrong
· signature_missing: no known key of the log has signed · not_included, not_consistent: the hashes don't lead there ·
another_log: two checkpoints are of different logs · nothing_committed: personal data is shown that the record knows
nothing of · another_payload: it is not the data that the record commits to."""


class Refused(ValueError):
    """What was to be read or checked does not hold. `reason` is stable; the message is a sentence."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        super().__init__(detail)
