"""The command line: `payymo …`, and the same group as `flask payymo …`.

Exit codes: 0 success, 1 a negative finding or a refusal, 2 misuse. Every command has `--json`.
"""

import gc
import importlib
import os
import signal
import sys
from types import ModuleType
from typing import Final

import click

COMMANDS: Final = {
    "apikey": "payymo.cli.api_key:api_key",
    "audit": "payymo.cli.audit:audit",
    "certificate": "payymo.cli.certificate:certificate",
    "config": "payymo.cli.config:config",
    "db": "payymo.cli.db:db",
    "guard": "payymo.cli.guard:guard",
    "key": "payymo.cli.key:key",
    "limits": "payymo.cli.limits:limits",
    "mail": "payymo.cli.mail:mail",
    "openapi": "payymo.cli.openapi:openapi",
    "password": "payymo.cli.password:password",
    "prove": "payymo.cli.prove:prove",
    "role": "payymo.cli.role:role",
    "secret": "payymo.cli.secret:secret",
    "serve": "payymo.cli.serve:serve",
    "service": "payymo.cli.service:service",
    "session": "payymo.cli.session:session",
    "status": "payymo.cli.status:status",
    "tenant": "payymo.cli.tenant:tenant",
    "token": "payymo.cli.token:token",
    "user": "payymo.cli.user:user",
    "webhook": "payymo.cli.webhook:webhook",
    "work": "payymo.cli.work:work",
}


class LazyGroup(click.Group):
    """Loads a command's module when it is used, so that `payymo --help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, without loading anything."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded now, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "serve":  # its modules take a while to load, and "look at the certificate" must not end it
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(_load(module), name)
        return found if isinstance(found, click.Command) else None


def _load(name: str) -> ModuleType:
    """A module, and all that it needs. It stays: nothing has to look for garbage in it, now or later."""
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="payymo")
def payymo() -> None:
    """Payymo: authentication and tokens for many tenants.

    Settings come from PAYYMO_… variables; `payymo config` shows them.
    """


def main() -> None:
    """The entry of the `payymo` command. What it writes (a database, logs) is nobody else's to read."""
    os.umask(0o077)
    if sys.stdin is None:  # closed by who started us: there is nobody to ask, and nothing to read
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - until the process ends
    for word in sys.argv[1:]:
        if not word.isascii() and word != word.encode("utf-8", "replace").decode():
            sys.exit("payymo: an argument is not UTF-8")
    try:
        sys.exit(payymo.main(prog_name="payymo", standalone_mode=True))
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - what is left would fail again
        sys.exit(f"payymo: {error.filename or 'the output'}: {error.strerror}")
