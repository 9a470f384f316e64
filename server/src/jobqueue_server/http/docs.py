"""The documents of the API, and the page to read them and to try them out: Swagger UI, from this server alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata as distributions
from pathlib import Path

from .answer import JSON, Answer, Headers

_HERE = Path(__file__).parent / "openapi"
# Where a build puts Swagger UI; a checkout has it from the distribution that builds take it from.
_BUILT = _HERE / "swagger-ui"
_SOURCE = ("flask-swagger-ui", "flask_swagger_ui/dist")

_CURRENT = "no-cache"
_FOR_A_DAY = "public, max-age=86400"
# Nothing from elsewhere, and no call to elsewhere: the page works without a network, and what a document says in HTML
# can't act. Swagger UI writes style attributes, and has its pictures as data.
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
    """A file behind a path.

    Attributes:
        name: In the folder of the documents, or in that of Swagger UI.
        content_type: As it is sent.
        caching: Cache-Control.
        headers: Beside those of every file.
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

# Where a document says below which path its own begin, and how it says so where that is not the root.
_PLACES = {
    "openapi.json": (b'"url": "/"', b'"url": "%s/"'),
    "jobqueue.swagger.json": (b'"swagger": "2.0",', b'"swagger": "2.0",\n  "basePath": "%s",'),
}

#: What is answered here.
PATHS = tuple(_FILES)


def answer(path: str, metadata: Mapping[str, str], root: str) -> Answer:
    """The answer to GET of one of `PATHS`; 304 where the caller has it already.

    Args:
        path: One of `PATHS`.
        metadata: Of the request.
        root: Where the application is mounted, "" for the root; as it stands in a URL.
    """
    file = _FILES[path]
    body, tag = _read(file.name, root)
    headers = (
        ("Cache-Control", file.caching),
        ("ETag", tag),
        ("X-Content-Type-Options", "nosniff"),
        *file.headers,
    )
    if tag in [each.strip() for each in metadata.get("if-none-match", "").split(",")]:
        return Answer(304, headers=headers)
    return Answer(200, body, headers, file.content_type)


@cache
def _read(name: str, root: str) -> tuple[bytes, str]:
    """A file and its ETag, a weak one, since it may be sent as gzip. Read once: it is a part of the program."""
    folder = _HERE if (_HERE / name).exists() else _swagger_ui()
    body = (folder / name).read_bytes()
    if root and name in _PLACES:
        at_the_root, below = _PLACES[name]
        body = body.replace(at_the_root, below % root.encode())
    return body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'


def _swagger_ui() -> Path:
    """The folder of Swagger UI.

    Raises:
        PackageNotFoundError: This is a checkout, and its environment does not have it installed.
    """
    if _BUILT.is_dir():
        return _BUILT
    distribution, folder = _SOURCE
    return Path(str(distributions.distribution(distribution).locate_file(folder)))
