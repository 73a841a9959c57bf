"""`payymo work`: everything that the service does beside answering, for applications that mount Payymo."""

import signal
import threading

import click

from payymo.background import Background
from payymo.cli.common import database, politely, require_current
from payymo.compose import compose
from payymo.config import read_settings
from payymo.logs import SecurityLog
from payymo.start import require_production


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Log JSON also in development.")
@politely
def work(*, as_json: bool) -> None:
    """Send mail and webhooks, grow and sign the audit logs, rotate and prune what is due, until Ctrl-C or SIGTERM.

    For an application that mounts Payymo: `payymo serve` does all of this by itself. Several at once do no harm.
    """
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    settings = read_settings()
    if settings.is_production:
        with database(settings) as engine:
            require_production(settings, engine)
    require_current(settings)
    services = compose(settings, log=SecurityLog(json=as_json or settings.is_production))
    background = Background(services)
    background.start()
    click.echo("Payymo works. It answers nobody: that is your application's part. Stop with Ctrl-C.", err=True)
    ending.wait()
    background.stop()
    services.close()
