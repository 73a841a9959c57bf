"""What a service does beside answering: mail and webhooks, the audit logs, and what is due by the calendar.

A running server does it in its workers. An application that mounts Payymo has `payymo work` do it.
"""

from collections.abc import Callable

from payymo.auditing import Auditor, Sender
from payymo.maintenance import Maintenance, Round
from payymo.services import Services


class Background:
    """The threads of one process. Any number of processes may have them: what must not be done twice has a lease."""

    def __init__(self, services: Services, *, observe: Callable[[Round], None] | None = None) -> None:
        """`observe` hears of every look at the calendar."""
        every = services.settings.server.maintenance_seconds
        self._parts = (
            services.courier,
            services.webhook_courier,
            Auditor(services),
            Sender(services),
            Maintenance(services, every_seconds=every, observe=observe),
        )

    def start(self) -> None:
        """Begin. What is due by the calendar is looked at after one interval."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Return when what may be under way has ended. Another process may go on at once."""
        for part in self._parts:
            part.stop()
