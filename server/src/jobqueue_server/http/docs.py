"""The OpenAPI documents, and the page that shows them: Swagger UI, with files from this server alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata as distributions
from pathlib import Path

from .answer import JSON, Answer, Headers

_HERE = Path(__file__).parent / "openapi"
# Where a build puts the files of Swagger UI. A checkout reads them from the distribution flask-swagger-ui.
_BUILT = _HERE / "swagger-ui"
_SOURCE = ("flask-swagger-ui", "flask_swagger_ui/dist")

_CURRENT = "no-cache"
_FOR_A_DAY = "public, max-age=86400"
# The page loads nothing from other servers and calls none: it works without a network, and HTML in a document can't
# run. Swagger UI writes style attributes, and has its pictures as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Headers = (
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
)


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is served.

    Attributes:
        name: Its name in the folder of the documents or of Swagger UI.
        content_type: Its Content-Type.
        caching: Its Cache-Control.
        headers: Its headers in addition to those of every file.
    """

    name: str
    content_type: str
    caching: str = _CURRENT
    headers: Headers = ()


_OPENAPI = _File("openapi.json", JSON)
_DOCS = _File("docs.html", "text/html; charset=utf-8", headers=_PAGE)
_FILES: Mapping[str, _File] = {
    "/": _DOCS,
    "/docs": _DOCS,
    "/docs/docs.js": _File("docs.js", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": _File("swagger-ui.css", "text/css; charset=utf-8", _FOR_A_DAY),
    "/docs/swagger-ui-bundle.js": _File("swagger-ui-bundle.js", "text/javascript; charset=utf-8", _FOR_A_DAY),
    "/docs/favicon-32x32.png": _File("favicon-32x32.png", "image/png", _FOR_A_DAY),
    "/openapi.json": _OPENAPI,
    "/api-docs/openapi.json": _OPENAPI,
    "/swagger.json": _File("jobqueue.swagger.json", JSON),
}

#: The part of each document that names the path below which its paths begin, and its form if that is not the root.
PLACES = {
    "openapi.json": (b'"url": "/"', b'"url": "%s/"'),
    "jobqueue.swagger.json": (b'"swagger": "2.0",', b'"swagger": "2.0",\n  "basePath": "%s",'),
}

#: The paths that this file answers.
PATHS = tuple(_FILES)


def answer(path: str, metadata: Mapping[str, str], root: str) -> Answer:
    """The answer to GET of one of `PATHS`; 304 if the caller has the file already.

    Args:
        path: One of `PATHS`.
        metadata: The headers of the request.
        root: The path where the application is mounted, as in a URL; "" for the root.
    """
    file = _FILES[path]
    body, tag = _read(file.name, root)
    headers = (
        ("Cache-Control", file.caching),
        ("ETag", tag),
        *file.headers,
    )
    if tag in [each.strip() for each in metadata.get("if-none-match", "").split(",")]:
        return Answer(304, headers=headers)
    return Answer(200, body, headers, file.content_type)


@cache
def _read(name: str, root: str) -> tuple[bytes, str]:
    """A file and its ETag, which is weak because the file may be sent as gzip. The file is read once."""
    folder = _HERE if (_HERE / name).exists() else _swagger_ui()
    body = (folder / name).read_bytes()
    if root and name in PLACES:
        at_the_root, below = PLACES[name]
        body = body.replace(at_the_root, below % root.encode())
    return body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'


def _swagger_ui() -> Path:
    """The folder of Swagger UI.

    Raises:
        PackageNotFoundError: This is a checkout, and its environment does not have flask-swagger-ui.
    """
    if _BUILT.is_dir():
        return _BUILT
    distribution, folder = _SOURCE
    return Path(str(distributions.distribution(distribution).locate_file(folder)))
