"""Keys that change every few seconds under load: what fails by it, on two servers and offline."""

import base64
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import httpx

from bench.measure import Effort, Figure
from bench.scene import DATABASES, EMAIL, Stage
from bench.server import HOST, Running, serving
from payymo_guard import Refused, VerificationKey, Verifier
from tests.support.house import PASSWORD
from tests.support.processes import ISSUER

OFTEN = {
    "PAYYMO_KEYS__ROTATE_EVERY_SECONDS": "3",
    "PAYYMO_KEYS__JWKS_MAX_AGE_SECONDS": "1",
    "PAYYMO_SERVER__MAINTENANCE_SECONDS": "1",
}
CLIENTS = 4
ROUNDS_PER_LOGIN = 20


class Client:
    """Logs in, refreshes, asks and verifies offline, and counts what does not succeed."""

    def __init__(self, servers: tuple[Running, Running]) -> None:
        self.counts: Counter[str] = Counter()
        self.kids: set[str] = set()
        self._http = [httpx.Client(base_url=f"http://{HOST}:{server.port}", timeout=20) for server in servers]
        self._turn = cycle(self._http)
        self._keys: dict[str, VerificationKey] = {}
        self._keys_until = float("-inf")

    def run(self, operations: int) -> None:
        """So many operations, or a few more."""
        while self.counts.total() < operations:
            tokens = self._post("login", {"email": EMAIL, "password": PASSWORD})
            for _ in range(ROUNDS_PER_LOGIN):
                tokens = self._post("refresh", {"refresh_token": tokens["refresh_token"]}) if tokens else None
                if tokens is None:
                    break
                self._ask(tokens["access_token"])
                self._verify(tokens["access_token"])
        for http in self._http:
            http.close()

    def _post(self, what: str, body: dict[str, str]) -> dict[str, str] | None:
        answer = next(self._turn).post(f"/api/auth/{what}", json=body)
        self._count(what, succeeded=answer.status_code == httpx.codes.OK)
        found: dict[str, str] | None = answer.json().get("data")
        return found

    def _ask(self, token: str) -> None:
        answer = next(self._turn).get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
        self._count("me", succeeded=answer.status_code == httpx.codes.OK)

    def _verify(self, token: str) -> None:
        """With a key set as old as it may be, and never fetched for an unknown key."""
        if time.monotonic() >= self._keys_until:
            answer = next(self._turn).get("/.well-known/jwks.json")
            self._keys_until = time.monotonic() + int(answer.headers["Cache-Control"].rpartition("max-age=")[2])
            self._keys = {jwk["kid"]: VerificationKey.from_jwk(jwk) for jwk in answer.json()["keys"]}
        self.kids.add(json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"])
        try:
            Verifier(issuer=ISSUER, audience="payymo-api", keys=self._keys.get).verify(token)
        except Refused:
            self._count("verify", succeeded=False)
        else:
            self._count("verify", succeeded=True)

    def _count(self, what: str, *, succeeded: bool) -> None:
        self.counts[what if succeeded else "failed"] += 1


def rotation(stage: Stage, effort: Effort) -> list[Figure]:
    """Two servers on one database, each key signing for three seconds."""
    figures = []
    for kind in DATABASES:
        database = stage.scene(kind).database
        with serving(database, into=None, **OFTEN) as one, serving(database, into=None, **OFTEN) as two:
            clients = [Client((one, two)) for _ in range(CLIENTS)]
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(lambda client: client.run(effort.operations // CLIENTS), clients))
        counts = sum((client.counts for client in clients), Counter[str]())
        failed = counts.pop("failed", 0)
        kids = set().union(*(client.kids for client in clients))
        parts = f"{len(kids)} keys signed; " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        name = f"failures in {counts.total() + failed:,} operations while keys rotate, {kind}"
        figures.append(Figure(name, failed, "", at_most=0.0, parts=parts))
    return figures
