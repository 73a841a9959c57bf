"""The service on a master key that the double of Vault keeps."""

from typing import Any

import pytest
import sqlalchemy as sa

from payymo.config import Settings
from payymo.db.schema import data_keys, master_keys, service_data_keys
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.logs import Trace
from payymo.secrets.master import read_setting
from payymo.secrets.model import MasterKey
from payymo.start import access_of
from tests.support.house import Database, House
from tests.support.vault import ROOT
from tests.support.vault_server import VaultServer

IN_VAULT = "vault:transit/payymo"


def reached(vault: VaultServer, token: str = ROOT) -> dict[str, Any]:
    """The settings with which it is reached."""
    return {"vault": {"address": vault.address, "token": token, "timeout_seconds": 2}}


def variables(vault: VaultServer) -> dict[str, str]:
    return {"PAYYMO_VAULT__ADDRESS": vault.address, "PAYYMO_VAULT__TOKEN": ROOT}


def opened(vault: VaultServer, uri: str = IN_VAULT, token: str = ROOT) -> MasterKey:
    return read_setting(uri, "HERE", access_of(Settings(**reached(vault, token))), Entropy())


def rotate(house: House) -> None:
    following = house.services.next_master_key
    assert following is not None
    house.services.master_rotation.run(following, progress=lambda _done, _total: None, trace=Trace())


def rows_of(database: Database) -> list[Any]:
    owner = database.owner()
    with owner.connect() as connection:
        tables = (master_keys, data_keys, service_data_keys)
        found = [tuple(row) for table in tables for row in connection.execute(sa.select(table))]
    owner.dispose()
    return sorted(found, key=repr)


def started(database: Database, vault: VaultServer, /, **more: Any) -> House:
    return House(database, **({"master_key": IN_VAULT} | reached(vault) | more))


def assert_refused(database: Database, vault: VaultServer, sentence: str, /, **more: Any) -> None:
    """The setting is named, the token is not, and nothing is written."""
    before = rows_of(database)
    with pytest.raises(Misconfigured, match=sentence) as refused:
        started(database, vault, **more)
    assert "PAYYMO_" in str(refused.value)
    assert "hvs." not in f"{refused.value!r} {refused.value.__context__!r}"
    assert rows_of(database) == before
