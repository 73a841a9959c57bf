"""Answers that must not be told apart by their time wait for one another: until a moment that they have in common.

Who waits holds no thread where the server can hold the answer (it puts `HOLD` into the environment); elsewhere the
thread sleeps. An answer that is late waits for the next multiple: what is over the budget shows as little as possible.
"""

import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from payymo.errors import PayymoError
from payymo.web.caller import Caller

HOLD: Final = "payymo.hold"
"""What a server puts there: hold the answer until this moment of the monotonic clock."""
SHED: Final = "payymo.shed"
"""What a server puts there when the request is one too many: it is refused unseen."""
Hold = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """Which answers of a route take the same time, and whether it computes a password hash.

    `holds`: `refusals` where a success tells everything anyway, `all` where every answer is the same. They take at
    least `least_seconds`; where a hash is computed, as long as the tenant's slowest.
    """

    hashes: bool = False
    holds: Literal["refusals", "all", None] = None
    least_seconds: float = 0.0

    def covers(self, status: int) -> bool:
        """Whether such an answer is held. Limits and failures of ours (429, 5xx) say nothing of who was asked for."""
        if status == 429 or status >= 500:
            return False
        return self.holds == "all" or (self.holds == "refusals" and status >= 400)


FREE: Final = Pace()
"""Nothing that anybody could tell by the time."""
PASSWORD_PROOF: Final = Pace(hashes=True, holds="refusals")
"""A password is checked: nobody's like anybody's."""
ALL_ALIKE: Final = Pace(holds="all", least_seconds=0.05)
"""The answer is always the same, and so is the work but for whether it is worth a mail: the outcome goes by mail."""
TOKEN_PROOF: Final = Pace(holds="refusals", least_seconds=0.025)
"""A token is checked. Garbage does not reach the database, and must not be told by that."""


def next_multiple(began: float, now: float, quantum: float) -> float:
    """The first moment not before `now` that is a whole number of quanta, and at least one, after `began`."""
    return began + max(1, math.ceil((now - began) / quantum)) * quantum


class Pacer:
    """Holds answers. `budget_of`: what a refused login in a tenant has to take, in seconds."""

    def __init__(
        self,
        budget_of: Callable[[uuid.UUID], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._budget_of = budget_of
        self._sleep = sleep
        self.clock = clock

    def hold(self, pace: Pace, status: int, caller: Caller | None, *, began: float) -> None:
        """Return when the answer may leave; at once where the server holds it."""
        quantum = self._quantum(pace, caller) if caller is not None and pace.covers(status) else 0.0
        if caller is None or quantum <= 0:
            return
        now = self.clock()
        until = next_multiple(began, now, quantum)
        server_holds: Hold | None = caller.request.environ.get(HOLD)
        if server_holds is None:
            self._sleep(until - now)
        else:
            server_holds(until)

    def _quantum(self, pace: Pace, caller: Caller) -> float:
        if not pace.hashes:
            return pace.least_seconds
        try:
            tenant_id = caller.user.tenant_id if caller.user else caller.tenant.id
            return max(pace.least_seconds, self._budget_of(tenant_id))
        except PayymoError:  # no such tenant, or no database: then nobody was asked for
            return pace.least_seconds
