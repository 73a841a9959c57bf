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
from payymo.users.budget import Budget
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


class Pacer:
    """Holds answers. `budget_of`: what a refused login in a tenant has to take that began at such a moment."""

    def __init__(
        self,
        budget_of: Callable[[uuid.UUID, float], Budget],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._budget_of = budget_of
        self._sleep = sleep
        self.clock = clock

    def hold(self, pace: Pace, status: int, caller: Caller | None, *, began: float) -> None:
        """Return when the answer may leave; at once where the server holds it."""
        if caller is None or not pace.covers(status):
            return
        budget = self._budget(pace, caller, began)
        if budget.seconds <= 0:
            return
        now = self.clock()
        until = began + budget.turns(max(1, math.ceil((now - began) / budget.seconds))) * budget.seconds
        server_holds: Hold | None = caller.request.environ.get(HOLD)
        if server_holds is None:
            self._sleep(until - now)
        else:
            server_holds(until)

    def _budget(self, pace: Pace, caller: Caller, began: float) -> Budget:
        if not pace.hashes:
            return Budget(pace.least_seconds)
        try:
            return self._budget_of(caller.user.tenant_id if caller.user else caller.tenant.id, began)
        except PayymoError:  # no such tenant, or no database: then nobody was asked for
            return Budget(0.0)
