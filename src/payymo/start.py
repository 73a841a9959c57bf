"""What has to be there before anything is built: the master key, and in production everything that it asks for."""

from typing import Final

from payymo.clock import Clock
from payymo.config import Settings, reveal
from payymo.db.privilege import role_reasons
from payymo.db.revision import is_current
from payymo.db.work import Engine, Work
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.production import reasons_against_production
from payymo.secrets.envelope import Envelope, check_master_keys, is_sealed
from payymo.secrets.master import KEEPERS, find_master_key, load_extra, make_development_key, read_setting
from payymo.secrets.model import Access, MasterKey, TokenAccess, VaultAccess

NO_MASTER_KEY: Final = "there is no master key: set PAYYMO_MASTER_KEY (payymo key generate-master makes one)"


def require_master_key(settings: Settings, engine: Engine, entropy: Entropy) -> MasterKey:
    """The master key. In development one is made; in production each reason against starting is named at once."""
    setting = reveal(settings.master_key)
    if not settings.is_production:
        found = find_master_key(setting, settings.data, access_of(settings), entropy)
        return found or _make_development_key(settings, engine, entropy)
    require_production(settings, engine)
    key = find_master_key(setting, settings.data, access_of(settings), entropy)
    if key is None:
        raise Misconfigured([NO_MASTER_KEY])
    return key


def find_next_master_key(settings: Settings, entropy: Entropy) -> MasterKey | None:
    """The master key that is to take the other one's place, or None. Raises Misconfigured."""
    setting = reveal(settings.next_master_key)
    if setting is None:
        return None
    return read_setting(setting, "PAYYMO_NEXT_MASTER_KEY", access_of(settings), entropy)


def access_of(settings: Settings) -> Access:
    """How those are reached who keep keys for us. Raises Misconfigured: a part of it is missing."""
    vault, token, reasons = settings.vault, settings.pkcs11, []
    if vault.address and vault.token is None:
        reasons.append("PAYYMO_VAULT__ADDRESS is set and PAYYMO_VAULT__TOKEN is not")
    if token.module and token.pin is None:
        reasons.append("PAYYMO_PKCS11__MODULE is set and PAYYMO_PKCS11__PIN is not")
    if reasons:
        raise Misconfigured(reasons)
    return Access(
        VaultAccess(vault.address, reveal(vault.token) or "", vault.namespace, vault.ca_file, vault.timeout_seconds)
        if vault.address
        else None,
        TokenAccess(token.module, reveal(token.pin) or "") if token.module else None,
    )


def make_master_key(uri: str, settings: Settings) -> str:
    """Make a master key in a hardware token. Answers its URI. Raises Misconfigured."""
    if not uri.startswith("pkcs11:"):
        raise Misconfigured(["--at: write pkcs11:token=NAME;object=NAME"])
    module = load_extra(KEEPERS["pkcs11"], "pkcs11", "--at")
    return str(module.make_master_key(uri, "--at", access_of(settings)))


def require_production(settings: Settings, engine: Engine) -> None:
    """Raise Misconfigured with every reason at once why this must not run in production."""
    reasons = list(reasons_against_production(settings))
    try:
        entropy = Entropy()
        key = find_master_key(reveal(settings.master_key), settings.data, access_of(settings), entropy)
        if key is None:
            reasons.append(NO_MASTER_KEY)
        elif key.is_development:
            reasons.append(f"{key.source} holds a development master key: make one with payymo key generate-master")
        following = find_next_master_key(settings, entropy)
        if following is not None and following.is_development:
            reasons.append(
                "PAYYMO_NEXT_MASTER_KEY holds a development master key: make one with payymo key generate-master"
            )
    except Misconfigured as error:
        reasons += error.reasons
    try:
        if is_current(engine):
            reasons += role_reasons(engine)
        else:
            reasons.append("the database is not at the revision of this version: run payymo db upgrade")
    except Misconfigured as error:
        reasons += error.reasons
    if reasons:
        raise Misconfigured(reasons)


def _make_development_key(settings: Settings, engine: Engine, entropy: Entropy) -> MasterKey:
    """A new key must not be put beside a database that was sealed under another: nothing in it would open again."""
    if is_sealed(Work(engine)):
        if (found := find_master_key(None, settings.data, Access(), entropy)) is not None:
            return found  # another process, which started at the same moment, has made it
        raise Misconfigured([f"{settings.data}: the database is there and its master key is not: restore master.key"])
    return make_development_key(settings.data, entropy)


def open_envelope(
    settings: Settings, work: Work, clock: Clock, entropy: Entropy, masters: tuple[MasterKey, MasterKey | None]
) -> Envelope:
    """`masters`: the one in use, and the next. Raises Misconfigured, unless the database opens with them."""
    given = [key for key in masters if key is not None]
    check_master_keys(work, given, clock, is_production=settings.is_production)
    return Envelope(clock, entropy, given)
