"""That logs were found to be damaged, while they grew. Pure."""

import uuid
from collections.abc import Iterable

from payymo.errors import PayymoError


class LogsDamaged(PayymoError):
    """Logs whose stored tree contradicts itself, or what was signed. Nothing is built upon them; all others go on."""

    code = "internal_error"

    def __init__(self, logs: Iterable[uuid.UUID]) -> None:
        self.logs = frozenset(logs)
        names = ", ".join(sorted(map(str, self.logs)))
        super().__init__(private=f"the audit logs {names} were changed: payymo audit verify says where")
