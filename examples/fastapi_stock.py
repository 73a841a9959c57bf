"""A stock of goods in FastAPI: who may read it, and who may change it. Its documentation is at /docs.

It needs `.venv/bin/pip install -e './guard[fastapi]' 'uvicorn[standard]'`. Run it beside the service (`make serve`):
`.venv/bin/uvicorn --app-dir examples --factory fastapi_stock:create_app --port 8000`.
"""

import os
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, WebSocket

from payymo_guard import Claims, Guard
from payymo_guard.fastapi import FastAPIGuard

guard = FastAPIGuard()
api = APIRouter()
stock: dict[str, dict[str, int]] = {}
Reader = Annotated[Claims, Depends(guard.require("stock:read"))]
Writer = Annotated[Claims, Depends(guard.require("stock:write"))]
OfTenant = Annotated[Claims, Depends(guard.require("stock:read", tenant="tenant_id"))]


@api.get("/")
async def index() -> str:
    """Open to everybody."""
    return "The stock. Log in at the service, and bring the access token."


@api.get("/stock")
async def read_stock(claims: Reader) -> dict[str, int]:
    """What the caller's own tenant has."""
    return stock.get(claims.tenant_id, {})


@api.put("/stock/{item}")
def change_stock(item: str, count: int, claims: Writer) -> dict[str, int]:
    """Change it. A plain function: FastAPI runs it in a thread."""
    own = stock.setdefault(claims.tenant_id, {})
    own[item] = count
    return own


@api.get("/t/{tenant_id}/stock")
async def read_stock_of(tenant_id: str, _: OfTenant) -> dict[str, int]:
    """The same, where the path names the tenant: tokens of another one are refused."""
    return stock.get(tenant_id, {})


@api.websocket("/stock/live")
async def watch_stock(websocket: WebSocket, claims: Reader) -> None:
    """What there is now. Who has no permission is refused before the connection is opened."""
    await websocket.accept()
    await websocket.send_json(stock.get(claims.tenant_id, {}))
    await websocket.close()


def create_app(core: Guard | None = None) -> FastAPI:
    """The application. Tests give it the guard of a FakeIssuer."""
    app = FastAPI(title="Stock")
    guard.init_app(
        app,
        core
        or Guard(
            issuer=os.environ.get("PAYYMO_ISSUER", "http://127.0.0.1:5000"),
            audience=os.environ.get("PAYYMO_AUDIENCE", "payymo-api"),
            credential=os.environ.get("PAYYMO_CREDENTIAL"),
        ),
    )
    app.include_router(api)
    return app
