"""Which answers wait, until when, and who waits."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from payymo.errors import TenantUnknown, Unavailable
from payymo.users.budget import Budget
from payymo.web.pacing import ALL_ALIKE, FREE, HOLD, PASSWORD_PROOF, TOKEN_PROOF, Pace, Pacer

BUDGET = 0.3


@pytest.mark.parametrize(
    ("pace", "held"),
    [
        (FREE, set()),
        (PASSWORD_PROOF, {400, 401, 403, 404, 422}),
        (TOKEN_PROOF, {400, 401, 403, 404, 422}),
        (ALL_ALIKE, {200, 201, 202, 400, 401, 403, 404, 422}),
    ],
)
def test_refusals_wait_and_limits_do_not(pace: Pace, held: set[int]) -> None:
    """A success says who one is anyway, unless every answer is the same; 429 and 5xx say nothing of anybody."""
    assert {status for status in (200, 201, 202, 400, 401, 403, 404, 422, 429, 500, 503) if pace.covers(status)} == held


@pytest.mark.parametrize(("budget", "until"), [(0.3, 0.3), (0.1, 0.1), (0.08, 0.16), (0.04, 0.12), (0.025, 0.1)])
def test_what_is_late_waits_for_the_next_multiple(budget: float, until: float) -> None:
    """So that what is over the budget shows in whole budgets alone. It took 0.09 s."""
    waiting = Waiting(budget, server_holds=True)
    waiting.hold(PASSWORD_PROOF)
    assert waiting.held == pytest.approx([50 + until])


def test_a_budget_may_ask_for_more_than_is_needed() -> None:
    """Where others are late, and this one is not to be told from them."""
    waiting = Waiting(0.05, server_holds=True, turns=lambda needed: needed + 1)
    waiting.hold(PASSWORD_PROOF)
    assert waiting.held == pytest.approx([50.15])


class Waiting:
    """A pacer on a clock that stands at 0.09 s after the request began, and what it did."""

    def __init__(
        self,
        budget: float = BUDGET,
        *,
        server_holds: bool = False,
        error: Exception | None = None,
        turns: Callable[[int], int] = lambda needed: needed,
    ) -> None:
        self.slept: list[float] = []
        self.held: list[float] = []
        self._error = error
        self._budget = Budget(budget, turns)
        self._environ = {HOLD: self.held.append} if server_holds else {}

    def hold(self, pace: Pace, status: int = 401) -> None:
        caller: Any = SimpleNamespace(
            user=None, tenant=SimpleNamespace(id="tenant"), request=SimpleNamespace(environ=self._environ)
        )
        pacer = Pacer(self._budget_of, clock=lambda: 50.09, sleep=self.slept.append)
        pacer.hold(pace, status, caller, began=50.0)

    def _budget_of(self, tenant_id: object, began: float) -> Budget:
        assert (tenant_id, began) == ("tenant", 50.0)
        if self._error is not None:
            raise self._error
        return self._budget


def test_a_server_that_can_holds_the_answer_and_otherwise_the_thread_sleeps() -> None:
    """Either way until the same moment."""
    asleep, with_server = Waiting(), Waiting(server_holds=True)
    for waiting in (asleep, with_server):
        waiting.hold(PASSWORD_PROOF)
    assert asleep.slept == pytest.approx([0.21])
    assert with_server.held == pytest.approx([50.3])
    assert with_server.slept == []


def test_routes_that_compute_no_hash_have_a_time_of_their_own() -> None:
    """Whatever hashes take: for answers that are all alike, and for tokens."""
    waiting = Waiting(budget=9.0, server_holds=True)
    waiting.hold(ALL_ALIKE, 202)
    waiting.hold(TOKEN_PROOF)
    assert waiting.held == pytest.approx([50.1, 50.1])


@pytest.mark.parametrize("error", [TenantUnknown(), Unavailable()])
def test_without_a_tenant_or_a_database_there_is_no_budget(error: Exception) -> None:
    """Nobody was asked for then; the answer goes out as it is, and holding it never fails it."""
    waiting = Waiting(error=error)
    waiting.hold(PASSWORD_PROOF)
    assert waiting.slept == []
