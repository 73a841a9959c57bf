"""What is counted, as the rest of the house tells it: the callbacks of one process."""

from collections.abc import Callable
from dataclasses import dataclass

from payymo.clock import Clock
from payymo.limits.model import Tier
from payymo.logs import Outcome
from payymo.maintenance import Round
from payymo.metrics import catalogue as c
from payymo.metrics.lanes import Lane
from payymo.services import Services
from payymo.webhooks.model import Outcome as Delivered


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits for a turn to hash before a thread is taken, and how many were sent away from there so far."""

    waiting: int = 0
    shed: int = 0


class Meter:
    """Counts into the lane of this process."""

    def __init__(self, lane: Lane, clock: Clock) -> None:
        self._lane = lane
        self._clock = clock
        self._shed = 0
        self._line: Callable[[], Line] = Line

    def event(self, name: str, outcome: Outcome) -> None:
        """A security event was written."""
        self._lane.add(c.EVENTS_TOTAL, name, outcome)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._lane.add(c.REQUESTS_TOTAL, route, method, f"{status // 100}xx")
        self._lane.observe(c.REQUEST_SECONDS, route, method, value=seconds)

    def refusal(self, tier: Tier) -> None:
        """A limit has refused a try."""
        self._lane.add(c.LIMITED_TOTAL, tier)

    def lockout(self) -> None:
        """A login was refused because too many have failed before it."""
        self._lane.add(c.LIMITED_TOTAL, c.LOCKOUT)

    def delivery(self, seconds: float) -> None:
        """A follower who waited was answered with news."""
        self._lane.observe(c.DELIVERY_SECONDS, value=seconds)

    def webhook(self, outcome: Delivered) -> None:
        """It was tried to deliver an event."""
        self._lane.add(c.WEBHOOKS_TOTAL, outcome)

    def round(self, done: Round) -> None:
        """Duties were looked for."""
        self._lane.set(c.DUTIES_LEADER, value=float(done.is_leader))
        if done.has_failed:
            self._lane.add(c.DUTIES_ROUNDS_TOTAL, "error")
        if done.seconds is not None:
            self._lane.set(c.DUTIES_SECONDS, value=done.seconds, moment=self._clock())
            if not done.has_failed:
                self._lane.add(c.DUTIES_ROUNDS_TOTAL, "success")
                self._lane.set(c.DUTIES_LAST, value=self._clock())

    def worker(self, *, duties_every_seconds: float, listener_expires_at: float | None) -> None:
        """This process is a worker, and has begun."""
        self._lane.add(c.WORKER_STARTS_TOTAL)
        self._lane.set(c.WORKERS, value=1.0)
        self._lane.set(c.DUTIES_INTERVAL, value=duties_every_seconds)
        if listener_expires_at is not None:
            self._lane.set(c.LISTENER_EXPIRY, value=listener_expires_at, moment=self._clock())

    def watch(self, line: Callable[[], Line]) -> None:
        """Count who waits in this line, too."""
        self._line = line

    def sample(self, services: Services) -> None:
        """How busy this process is now. To be told every second or so, by one thread."""
        load, line, pool = services.passwords.load(), self._line(), services.connections()
        shed = load.shed + line.shed
        self._lane.set(c.HASHES, "running", value=load.running)
        self._lane.set(c.HASHES, "waiting", value=load.waiting + line.waiting)
        self._lane.add(c.HASHES_SHED_TOTAL, amount=shed - self._shed)
        self._shed = shed
        self._lane.set(c.CONNECTIONS, value=pool.in_use)
        self._lane.set(c.POOL_SIZE, value=pool.at_most)
