"""What the runbook shows works as it stands there."""

import re
from pathlib import Path
from typing import Any

from payymo.clock import system_clock
from tests.support.house import Database, House
from tests.support.receiver import Receiver, deliver, endpoint
from tests.webhooks.test_deliveries import ALICE, happen

RUNBOOK = Path(__file__).parents[2] / "docs" / "operations" / "webhooks.md"


def test_the_receiver_of_the_runbook_takes_what_is_ours_once(sqlite_database: Database, there: Receiver) -> None:
    """A changed body, another secret or an old attempt is refused; what came before is taken, and not done again."""
    [code] = re.findall(r"<!-- tried by .*?-->\n```python\n(.*?)```", RUNBOOK.read_text("utf-8"), re.DOTALL)
    house = House(sqlite_database, clock=system_clock, **there.settings())
    _, secret = endpoint(house, there.url)
    happen(house, ALICE)
    deliver(house)
    house.close()
    [got] = there.got
    known: dict[str, Any] = {}
    exec(compile(code.replace("whsec_…", secret), str(RUNBOOK), "exec"), known)  # noqa: S102 - it is our own
    receive = known["receive"]
    assert receive(got.headers, got.body) == receive(got.headers, got.body) == 204
    assert known["seen"] == {got.id}
    changed = got.body.replace(b"success", b"refused")
    assert receive(got.headers, changed) == 401
    assert receive(got.headers | {"webhook-timestamp": "1"}, got.body) == 401
    assert receive(got.headers | {"webhook-signature": "v1,AAAA"}, got.body) == 401
    assert receive(got.headers | {"webhook-signature": "nonsense"}, got.body) == 401
