"""`payymo work`: what an application that mounts Payymo does not do by itself."""

import signal
import subprocess
import time

from flask import Flask

from payymo.clock import system_clock
from payymo.extension import Payymo
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.processes import PAYYMO, environment

PATIENCE_SECONDS = 30


def test_the_log_of_a_mounted_service_grows_and_is_signed_while_work_runs(sqlite_database: Database) -> None:
    """And ends politely: who follows may go on at once, and what was under way is done."""
    house = House(sqlite_database, clock=system_clock)
    app = Flask(__name__)
    Payymo(app, services=house.services)
    house.user("alice")
    assert Client(app.test_client(), {}).log_in().status_code == 200
    with subprocess.Popen(
        [PAYYMO, "work"], env=environment(sqlite_database), stderr=subprocess.PIPE, text=True
    ) as working:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while house.services.checkpoints.newest(house.default.id) is None:
                assert time.monotonic() < deadline
                assert working.poll() is None
                time.sleep(0.05)
        finally:
            working.send_signal(signal.SIGTERM)
            _, said = working.communicate(timeout=PATIENCE_SECONDS)
    assert working.returncode == 0, said
    assert PASSWORD not in said
    assert house.services.lease("audit", seconds=5).take()
    house.close()
