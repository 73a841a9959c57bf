"""Stylesheet, scripts and pictures of the pages: files of the package, under names that change with what is in them."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from flask import Request, Response

from payymo.errors import NotFound

PREFIX: Final = "/console/static/"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_YEAR: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is and compressed."""

    path: str
    content_type: str
    data: bytes
    packed: bytes


class Assets:
    """All of them."""

    def __init__(self) -> None:
        folder = resources.files("payymo.web.console") / "static"
        found = {
            entry.name: _read(entry.name, entry.read_bytes())
            for entry in folder.iterdir()
            if _suffix(entry.name) in _TYPES
        }
        self.paths: Mapping[str, str] = {name: asset.path for name, asset in found.items()}
        """Where each file is, by its own name."""
        self._served = {asset.path: asset for asset in found.values()}

    def answer(self, request: Request, path: str) -> Response:
        """A file. Raises NotFound, also for a file of another version."""
        asset = self._served.get(path)
        if asset is None:
            raise NotFound
        response = Response(asset.data, content_type=asset.content_type)
        if takes_gzip(request):
            response.set_data(asset.packed)
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        response.headers["Cache-Control"] = _YEAR
        return response


@cache
def load_assets() -> Assets:
    """The assets, read and compressed once in a process."""
    return Assets()


def takes_gzip(request: Request) -> bool:
    """Whether the client undoes gzip."""
    return request.accept_encodings["gzip"] > 0


def _read(name: str, data: bytes) -> Asset:
    stem, suffix = name.removesuffix(_suffix(name)), _suffix(name)
    path = f"{PREFIX}{stem}-{hashlib.sha256(data).hexdigest()[:12]}{suffix}"
    return Asset(path, _TYPES[suffix], data, gzip.compress(data, mtime=0))


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
