"""The command line: `payymo …`, and the same group as `flask payymo …`.

Exit codes: 0 success, 1 a negative finding or a refusal, 2 misuse. Every command has `--json`.
"""

import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

COMMANDS: Final = {
    "apikey": ("api_key", "Manage the API keys of a tenant's own programs."),
    "audit": ("audit", "What is on record: read it, check it, prove what stands in it, keep it as long as is wanted."),
    "certificate": ("certificate", "Keep certificates: import, request, change, export."),
    "config": ("config", "Show the effective settings."),
    "db": ("db", "Bring the database to this version's schema, or look at it."),
    "guard": ("guard", "Look at guards, who verify tokens elsewhere."),
    "key": ("key", "Manage keys."),
    "limits": ("limits", "See how rate limits are used, and give somebody limits of their own."),
    "mail": ("mail", "Look after the mail that is sent."),
    "openapi": ("openapi", "Print the OpenAPI 3.1 document of this version."),
    "password": ("password", "Set the policy for passwords, check one against it, find out what hashes cost."),
    "prove": ("prove", "Measure what the service promises."),
    "role": ("role", "Manage a tenant's roles."),
    "secret": ("secret", "Keep secrets, and change what they are sealed under."),
    "serve": ("serve", "Run the service."),
    "service": ("service", "Manage what services, such as guards, prove themselves with."),
    "session": ("session", "Look at sessions and end them."),
    "status": ("status", "Show what runs, what is due and what is wrong."),
    "tenant": ("tenant", "Manage tenants."),
    "token": ("token", "Look at tokens."),
    "user": ("user", "Manage a tenant's users."),
    "webhook": ("webhook", "Manage where events are sent, signed as https://www.standardwebhooks.com says."),
    "work": (
        "work",
        "Send mail and webhooks, grow and sign the audit logs, rotate and prune what is due, until Ctrl-C or SIGTERM.",
    ),
}
"""The module of each command, and in it its name; and the first sentence of its help, so that a list loads none."""


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
        name, _ = COMMANDS[cmd_name]
        with loading(module := f"{__name__}.{name}"):
            found = getattr(importlib.import_module(module), name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `payymo --help`: whole sentences, which click would cut off where a line ends."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@contextmanager
def loading(module: str) -> Iterator[None]:
    """While a module is loaded, and what it needs. It stays: nothing has to look for garbage in it, now or later.

    Where somebody else has switched the collector off, nothing looks anyway, and it stays as it is.
    """
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
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
    _require_standard_streams()
    for word in sys.argv[1:]:
        if not word.isascii() and word != word.encode("utf-8", "replace").decode():
            sys.exit("payymo: an argument is not UTF-8")
    try:
        sys.exit(payymo.main(prog_name="payymo", standalone_mode=True))
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - what is left would fail again
        unnamed = "the current folder" if isinstance(error, FileNotFoundError) else "the output"
        sys.exit(f"payymo: {error.filename or unnamed}: {error.strerror or error}")


def _require_standard_streams() -> None:
    """Where who started us has closed one: nobody is there to ask or to tell, and its number must not go to a database.

    What a stream has no letters for is written as its escape, instead of ending what is under way.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in this order: the lowest number is next
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
