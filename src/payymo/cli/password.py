"""`payymo password`: the policy, a check against it, and what hashes cost on this machine."""

import os
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, find_tenant, of_tenant, politely, services
from payymo.cli.output import show
from payymo.errors import InvalidInput
from payymo.users.calibration import Measured, calibrate, stopwatch
from payymo.users.password_policy import PROFILES, PasswordPolicy

NOBODY = "-"


@click.group()
def password() -> None:
    """Set the policy for passwords, check one against it, find out what hashes cost."""


@password.command()
@click.option("--profile", type=click.Choice(sorted(PROFILES)), help="Begin with these values.")
@click.option("--min-length", type=int, help="10 to 64 characters.")
@click.option("--max-length", type=int, help="64 to 256 characters.")
@click.option("--min-score", type=int, help="Of zxcvbn: 0 (off) to 4.")
@click.option("--complexity-classes", type=int, help="How many kinds of characters: 0 (off) to 4.")
@click.option("--word", "words", multiple=True, help="May be repeated: what must not be most of a password.")
@click.option("--no-words", is_flag=True, help="Forget the words.")
@click.option("--reset", is_flag=True, help="Go back to what the settings say.")
@of_tenant
@as_json
@politely
def policy(
    *, profile: str | None, reset: bool, no_words: bool, tenant_slug: str | None, as_json: bool, **given: Any
) -> None:
    """Show the policy of a tenant; with options, change it. What is not given stays."""
    changes = {name: value for name, value in given.items() if value is not None and value != ()}
    if no_words:
        changes["words"] = ()
    if reset and (changes or profile):
        raise click.UsageError("--reset goes without other options")
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        policies = opened.password_policies
        found, _ = policies.get(tenant.id)
        if reset or changes or profile:
            wanted = replace(PROFILES[profile] if profile else found, **changes)
            policies.set(tenant.id, None if reset else wanted, by=None, trace=CONSOLE)
        show(_facts(*policies.get(tenant.id)), json_wanted=as_json)


def _facts(found: PasswordPolicy, is_own: bool) -> dict[str, Any]:  # noqa: FBT001 - as the policies answer
    return {**asdict(found), "set_by": "tenant" if is_own else "settings"}


@password.command()
@click.option("--email", default=NOBODY, metavar="EMAIL", help="Whose it would be.")
@click.option("--username", default=NOBODY, metavar="NAME", help="Whose it would be.")
@of_tenant
@as_json
@politely
def check(*, email: str, username: str, tenant_slug: str | None, as_json: bool) -> None:
    """Say whether a tenant would take a password, and if not, why. It comes from the prompt or standard input."""
    if sys.stdin.isatty():
        given = str(click.prompt("Password", hide_input=True, err=True))
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        found = opened.password_policies.problems(tenant.id, given, email=email, username=username)
    reasons = [problem.detail for problem in found]
    if as_json:
        show({"acceptable": not reasons, "reasons": reasons}, json_wanted=True)
    else:
        click.echo("\n".join(reasons) or "This password is acceptable.")
    sys.exit(1 if reasons else 0)


@password.command(name="calibrate")
@click.option("--target-ms", type=click.IntRange(20, 2000), default=250, show_default=True, help="For one hash.")
@click.option("--memory-mib", type=click.IntRange(8), default=512, show_default=True, help="For all that run at once.")
@click.option("--cores", type=click.IntRange(1, 256), help="Without it, those of this machine.")
@as_json
@politely
def calibrate_command(*, target_ms: int, memory_mib: int, cores: int | None, as_json: bool) -> None:
    """Measure Argon2id on this machine, with every core busy, and suggest what to set. Nothing is changed."""
    used = cores or os.cpu_count() or 1

    def told(found: Measured) -> None:
        text = f"{found.cost.memory_kib} KiB, {found.cost.iterations} iterations: {found.seconds * 1000:.0f} ms"
        click.echo(text, err=True)

    try:
        best, is_within = calibrate(
            stopwatch(used, time.perf_counter),
            target_seconds=target_ms / 1000,
            memory_kib=memory_mib * 1024 // used,
            told=told,
        )
    except ValueError as error:
        raise InvalidInput(detail=str(error)) from None
    facts = {
        "PAYYMO_PASSWORDS__ARGON2_MEMORY_KIB": best.cost.memory_kib,
        "PAYYMO_PASSWORDS__ARGON2_ITERATIONS": best.cost.iterations,
        "milliseconds": round(best.seconds * 1000),
        "logins_per_second": round(used / best.seconds, 1),
        "cores": used,
        "within_target": is_within,
    }
    show(facts, json_wanted=as_json)
    sys.exit(0 if is_within else 1)
