"""`payymo certificate`: the service's own certificates, and a small authority for development."""

import sys
from datetime import datetime
from pathlib import Path

import click

from payymo.certificates.development import MAX_DAYS
from payymo.certificates.making import ALGORITHMS, Algorithm, parse_names
from payymo.certificates.model import MAX_VERSION, Usage, refusal
from payymo.certificates.reading import MAX_FILE_BYTES, AskPassword, holds_a_key, read
from payymo.cli.certificate_facts import COLUMNS, facts_of, outcome, row
from payymo.cli.common import CONSOLE, as_json, ask, confirmed, politely, services
from payymo.cli.output import show as show_facts
from payymo.cli.output import show_all
from payymo.errors import Conflict
from payymo.files import read_bounded, require_private, write_once

MAX_PASSWORD_BYTES = 4096
_THERE_ALREADY = "{file} is there already, and stays as it is: name another file."

numbered = click.argument("version", type=click.IntRange(1, MAX_VERSION))
perhaps_numbered = click.argument("version", type=click.IntRange(1, MAX_VERSION), required=False)
with_password = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
for_client = click.option("--client", "is_client", is_flag=True, help="For a client instead of a server.")
with_dns = click.option("--dns", multiple=True, metavar="NAME", help="A DNS name; several are possible.")
with_ip = click.option("--ip", multiple=True, metavar="ADDRESS", help="An IP address; several are possible.")
with_uri = click.option("--uri", multiple=True, metavar="URI", help="A URI, such as spiffe://…; several are possible.")


@click.group()
def certificate() -> None:
    """Keep certificates: import, request, change, export."""


@certificate.command(name="list")
@as_json
@politely
def list_all(*, as_json: bool) -> None:
    """List every version, with the days that are left and what is to be done."""
    with services() as opened:
        found, now = opened.certificates.list_all(), int(opened.clock())
    show_all([row(version, found, now) for version in found], COLUMNS, json_wanted=as_json)


@certificate.command()
@click.argument("name")
@perhaps_numbered
@as_json
@politely
def show(*, name: str, version: int | None, as_json: bool) -> None:
    """Show what is public of a version: without a number of the active one, or of what is to become it."""
    with services() as opened:
        found = opened.certificates.get(name, version)
    show_facts(facts_of(found), json_wanted=as_json)


@certificate.command()
@click.argument("name")
@perhaps_numbered
@click.option("--accepted", is_flag=True, help="Every version that peers have to accept: next, active, retiring.")
@as_json
@politely
def chain(*, name: str, version: int | None, accepted: bool, as_json: bool) -> None:
    """Print a certificate with its chain as PEM; of a version that is only requested, the request."""
    if accepted and version is not None:
        raise click.UsageError("Name a version, or say --accepted.")
    with services() as opened:
        found = opened.certificates.list_accepted(name) if accepted else (opened.certificates.get(name, version),)
    if as_json:
        rows = [{"version": one_of.version, "pem": one_of.chain_pem or one_of.request_pem} for one_of in found]
        show_facts({"name": name, "versions": rows}, json_wanted=True)
    else:
        click.echo("".join(one_of.chain_pem or one_of.request_pem or "" for one_of in found), nl=False)


@certificate.command(name="import")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "key_file", type=click.Path(path_type=Path), help="The private key, if it is a file of its own.")
@with_password
@click.option("--activate-at", metavar="TIME", help="When it takes over, such as 2030-01-31T03:00:00Z.")
@click.option("--other-names", is_flag=True, help="It may lack names of the one before, or of the request.")
@for_client
@as_json
@politely
def import_file(
    *,
    name: str,
    file: Path,
    key_file: Path | None,
    password_stdin: bool,
    activate_at: str | None,
    other_names: bool,
    is_client: bool,
    as_json: bool,
) -> None:
    """Keep a certificate from FILE (PEM or PKCS#12), the certificate first and then each one's issuer.

    Without a private key it answers the request of this name. The first certificate of a name is in use at once, a
    later one as soon as it is valid and the active one is about to expire.
    """
    data, key = _read_file(file), None
    if key_file is not None:
        require_private(key_file)
        key = read_bounded(key_file, MAX_FILE_BYTES)
    material = read(data, _asker(from_stdin=password_stdin), key=key)
    activates_at = None if activate_at is None else _moment(activate_at)
    with services() as opened:
        new = opened.certificates.add(
            name,
            material,
            usage=_usage(is_client=is_client),
            activates_at=activates_at,
            other_names=other_names,
            trace=CONSOLE,
        )
    show_facts(outcome(new), json_wanted=as_json)


@certificate.command()
@click.argument("name")
@with_dns
@with_uri
@with_ip
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="p-256", show_default=True)
@for_client
@as_json
@politely
def request(
    *,
    name: str,
    dns: tuple[str, ...],
    uri: tuple[str, ...],
    ip: tuple[str, ...],
    algorithm: Algorithm,
    is_client: bool,
    as_json: bool,
) -> None:
    """Make a private key, which stays here, and print a signing request for your authority."""
    names = parse_names(dns, ip, uri)
    with services() as opened:
        new = opened.certificates.request(
            name, names, algorithm=algorithm, usage=_usage(is_client=is_client), trace=CONSOLE
        )
    if as_json:
        show_facts({"name": name, "version": new.version, "pin": new.pin, "request": new.request_pem}, json_wanted=True)
    else:
        click.echo(new.request_pem, nl=False)


@certificate.command()
@click.argument("name")
@numbered
@confirmed
@as_json
@politely
def activate(*, name: str, version: int, yes: bool, as_json: bool) -> None:
    """Use a next version now, or a retiring one again. The one before is accepted for the overlap."""
    ask(f"Use version {version} of {name!r} from now on?", yes=yes)
    with services() as opened:
        opened.certificates.activate(name, version, trace=CONSOLE)
    show_facts({"name": name, "active": version}, json_wanted=as_json)


@certificate.command()
@click.argument("name")
@numbered
@click.option("--last", is_flag=True, help="Also the active one, which leaves the name without a certificate.")
@confirmed
@as_json
@politely
def retire(*, name: str, version: int, last: bool, yes: bool, as_json: bool) -> None:
    """Destroy the private half of a version that is not in use any more."""
    ask(f"Destroy the private half of version {version} of {name!r}?", yes=yes)
    with services() as opened:
        opened.certificates.retire(name, version, last=last, trace=CONSOLE)
    show_facts({"name": name, "retired": version}, json_wanted=as_json)


@certificate.command()
@click.argument("name")
@numbered
@confirmed
@as_json
@politely
def revoke(*, name: str, version: int, yes: bool, as_json: bool) -> None:
    """Destroy the private half of a version, and never accept its key again. The next version takes over at once.

    Tell the authority that issued it, too: clients ask there.
    """
    ask(f"Destroy version {version} of {name!r}, and refuse its key for ever?", yes=yes)
    with services() as opened:
        active = opened.certificates.revoke(name, version, trace=CONSOLE)
    show_facts({"name": name, "revoked": version, "active": active}, json_wanted=as_json)


@certificate.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--version", type=click.IntRange(1, MAX_VERSION), help="Which version; without it, the active one.")
@with_password
@as_json
@politely
def export(*, name: str, file: Path, version: int | None, password_stdin: bool, as_json: bool) -> None:
    """Write a version with its private key to a new FILE: PKCS#12, encrypted under a password."""
    if file.is_symlink() or file.exists():
        raise Conflict(_THERE_ALREADY.format(file=file))
    password = _asker(from_stdin=password_stdin, twice=True)()
    with services() as opened:
        packed = opened.certificates.export(name, version, password, trace=CONSOLE)
        try:
            is_written = write_once(file, packed, opened.entropy)
        except OSError as error:
            raise Conflict(f"{file}: nothing can be written there ({error.strerror}).") from None
    if not is_written:
        raise Conflict(_THERE_ALREADY.format(file=file))
    show_facts({"name": name, "file": str(file), "bytes": len(packed)}, json_wanted=as_json)


@certificate.command(name="issue-development")
@click.argument("name")
@with_dns
@with_ip
@with_uri
@for_client
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=90, show_default=True)
@as_json
@politely
def issue_development(
    *,
    name: str,
    dns: tuple[str, ...],
    ip: tuple[str, ...],
    uri: tuple[str, ...],
    is_client: bool,
    days: int,
    as_json: bool,
) -> None:
    """Issue a certificate for development, in use at once. Refused in production.

    The root to trust: payymo certificate chain development-authority.
    """
    names = parse_names(dns, ip, uri)
    with services() as opened:
        new = opened.development_authority.issue(
            name, names, usage=_usage(is_client=is_client), days=days, trace=CONSOLE
        )
    show_facts(outcome(new), json_wanted=as_json)


def _usage(*, is_client: bool) -> Usage:
    return "client" if is_client else "server"


def _read_file(path: Path) -> bytes:
    data = read_bounded(path, MAX_FILE_BYTES)
    if holds_a_key(data):
        require_private(path)
    return data


def _asker(*, from_stdin: bool, twice: bool = False) -> AskPassword:
    """Asks at the terminal, or reads the first line of standard input: an argument would be seen by everybody."""

    def answer() -> str:
        if not from_stdin and sys.stdin.isatty():
            typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True)
            return typed
        if not from_stdin:
            raise refusal("password", "there is no terminal to ask at: use --password-stdin")
        try:
            return sys.stdin.buffer.readline(MAX_PASSWORD_BYTES).decode().rstrip("\r\n")
        except ValueError:
            raise refusal("password", "not UTF-8") from None

    return answer


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise refusal("activate-at", "write a time with its zone, such as 2030-01-31T03:00:00Z")
    return int(found.timestamp())
