"""`/operator/secrets`: names and versions of the service's own secrets. No value is read here."""

from payymo.secrets.service import Secrets
from payymo.web.console.pages import Answer, Sheet, page
from payymo.web.console.visit import Visit


class SecretsDesk:
    """What is known of secrets without knowing them."""

    def __init__(self, *, secrets: Secrets) -> None:
        self._secrets = secrets

    @page("GET", "/operator/secrets", permission="platform:read")
    def list_secrets(self, visit: Visit) -> Answer:
        """List names and versions."""
        del visit
        return Sheet("operator_secrets.html", {"versions": self._secrets.list_versions()})
