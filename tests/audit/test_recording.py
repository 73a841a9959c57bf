"""What goes on record while whoever keeps the master key does not answer."""

from typing import Any

import pytest

from payymo.audit.log import WAIT_SECONDS, AuditLog
from payymo.errors import Unavailable
from payymo.logs import Event, Trace
from tests.support.house import House


@pytest.mark.parametrize("passed", [WAIT_SECONDS, -3600])
def test_who_keeps_the_key_is_asked_again_after_the_wait_also_when_the_clock_goes_back(
    house: House, passed: int
) -> None:
    """Else, for as long as the clock had been ahead, everything would be on record without what is personal."""
    services, asked = house.services, list[Any]()

    def away(*place: Any) -> Any:
        asked.append(place)
        raise Unavailable

    log = AuditLog(services.work, house.clock, services.entropy, seal=away, log=services.log)
    event = Event("login.wait-over", trace=Trace(address="203.0.113.9"), tenant_id=house.default.id)
    for _ in range(2):
        log.record_apart(event)
    assert len(asked) == 1
    house.clock.advance(passed)
    log.record_apart(event)
    assert len(asked) == 2
