"""What tests of secrets in Vault begin with."""

import pytest

from payymo.logs import Trace
from payymo.secrets.vault_secrets import VaultSecrets, open_secrets
from tests.support.house import Database, House
from tests.support.vault_house import IN_VAULT, reached, rotate
from tests.support.vault_server import VaultServer, access_to


@pytest.fixture
def kept(vault: VaultServer) -> VaultSecrets:
    """Secrets below `payymo`."""
    return open_secrets("vault:secret/payymo", access_to(vault.address), vault.vault.clock)


@pytest.fixture
def moved(database: Database, vault: VaultServer) -> Database:
    """A database whose data keys are wrapped in Vault, with secrets of two tenants and of the service."""
    house = House(database, next_master_key=IN_VAULT, **reached(vault))
    house.user("alice")
    for slug in ("a", "b"):
        house.services.secrets.put("one", b"VALUE", tenant_id=house.tenant(slug).id, trace=Trace())
    house.services.secrets.put("one", b"VALUE", trace=Trace())
    rotate(house)
    house.close()
    return database
