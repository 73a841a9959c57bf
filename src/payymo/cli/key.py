"""`payymo key`: list and rotate signing keys, make a master key."""

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, politely, services, settings
from payymo.cli.output import show, show_all
from payymo.entropy import Entropy
from payymo.keys.model import PURPOSES, Purpose
from payymo.secrets.master import write_key
from payymo.start import make_master_key

COLUMNS = ("kid", "purpose", "algorithm", "state", "place", "created_at", "activated_at", "retires_at")


@click.group()
def key() -> None:
    """Manage keys."""


@key.command(name="list")
@as_json
@politely
def list_all(*, as_json: bool) -> None:
    """List the signing keys, public facts only."""
    with services() as opened:
        rows = [{name: getattr(found, name) for name in COLUMNS} for found in opened.ring.list_keys()]
    show_all(rows, COLUMNS, json_wanted=as_json)


@key.command()
@click.option("--purpose", type=click.Choice(PURPOSES), default="access", show_default=True)
@click.option("--at-once", is_flag=True, help="Also when some verifiers may not know the next key yet.")
@confirmed
@as_json
@politely
def rotate(*, purpose: Purpose, at_once: bool, yes: bool, as_json: bool) -> None:
    """Let the next key sign from now on. Tokens that the present one has signed stay valid until they expire."""
    ask(f"Rotate the {purpose} signing key?", yes=yes)
    with services() as opened:
        active = opened.ring.rotate(purpose, at_once=at_once, trace=CONSOLE)
        show({"purpose": purpose, "active": active}, json_wanted=as_json)


@key.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("kid")  # base64url: one of 64 begins with a dash, and is no option
@click.option("--compromised", is_flag=True, required=True, help="Say that somebody else may have the key.")
@click.option("--keep-sessions", is_flag=True, help="Let sessions live on by refresh, instead of ending them all.")
@confirmed
@as_json
@politely
def revoke(*, kid: str, compromised: bool, keep_sessions: bool, yes: bool, as_json: bool) -> None:
    """Refuse at once whatever a key has signed, and destroy it. A run that was killed can be run again."""
    del compromised
    consequence = "Sessions live on by refresh." if keep_sessions else "All sessions of all tenants end."
    ask(f"Refuse every token that {kid} has signed? {consequence}", yes=yes)
    with services() as opened:
        ended = opened.administration.revoke_key(kid, keep_sessions=keep_sessions, trace=CONSOLE)
        facts = {"revoked": kid, "sessions_ended": ended}
        still = [location for _, location in opened.keeper.list_leftovers()]
        show(facts | ({"still_to_destroy": still} if still else {}), json_wanted=as_json)


@key.command(name="generate-master")
@click.option("--at", metavar="URI", help="Make it in a hardware token instead: pkcs11:token=NAME;object=NAME")
@as_json
@politely
def generate_master(*, at: str | None, as_json: bool) -> None:
    """Print a new master key, for PAYYMO_MASTER_KEY or a file in PAYYMO_SECRETS_DIR.

    What a hardware token makes never leaves it: then the URI is printed, which is the setting.
    """
    made = write_key(Entropy().bytes(32), development=False) if at is None else make_master_key(at, settings())
    if as_json:
        show({"master_key": made}, json_wanted=True)
    else:
        click.echo(made)
