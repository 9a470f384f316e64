"""The dashboard: the files of the page below /ui/, and the page itself for every other path there."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from . import compression, ui_modules
from .answer import Answer, Headers

_HERE = Path(__file__).parent / "ui"
#: Where the page is, and what every path of it begins with.
PLACE, BELOW = "/ui", "/ui/"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
_FIRST, _MODULES = "app/theme.js", "app/all.js"
# A version of the page is a folder of its own, so its files never change.
_FOR_EVER = "public, max-age=31536000, immutable"
_CURRENT = "no-cache"
# The page loads nothing from other servers and calls none. What callers store can be text in it and nothing else: no
# script but its own files runs, and no text becomes HTML or an address of a script. `<base>` may name this server.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_OF_ALL: Headers = (("Referrer-Policy", "no-referrer"),)
_OF_THE_PAGE: Headers = (
    *_OF_ALL,
    ("Content-Security-Policy", _POLICY),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
# zlib's value for a window of 32 KiB in the framing of gzip.
_GZIP = 31


class Dashboard:
    """Answers GET of `PLACE`, of everything `BELOW` it, and of `/` to browsers.

    It needs no credentials: it has what every copy of the server has. What the page reads, it reads as its user, by the
    same calls as any client.

    Args:
        mode: `on`, `read-only` or `off`. The page hides its buttons by `read-only`; that refuses nothing by itself.

    Attributes:
        on: Whether there is a dashboard.
        version: Stands for all of its files; the name of their folder in URLs.
        paths: Where its files are, all that a browser can load of it but the page itself.
    """

    def __init__(self, mode: str) -> None:
        self.on = mode != "off"
        files = _files() if self.on else {}
        summed = hashlib.sha256()
        for name, body in files.items():
            summed.update(b"%s\0%d\0%s" % (name.encode(), len(body), body))
        self.version = summed.hexdigest()[:12]
        page = files.pop("index.html", b"").replace(b"{version}", self.version.encode())
        self._page = page.replace(b"{mode}", mode.encode())
        self._files = {
            f"{BELOW}{self.version}/{name}": _Packed(body, _TYPES[Path(name).suffix])
            for name, body in files.items()
        }
        self.paths = tuple(self._files)

    def answers(self, path: str, metadata: Mapping[str, str]) -> bool:
        """Whether GET of a path is answered by the dashboard."""
        if path == "/":
            return self.on and "text/html" in metadata.get("accept", "")
        return self.has(path)

    def has(self, path: str) -> bool:
        """Whether a path is the dashboard's alone."""
        return self.on and (path == PLACE or path.startswith(BELOW))

    def answer(self, path: str, raw_path: str, metadata: Mapping[str, str]) -> Answer:
        """The answer to GET of a path that it `answers`; 304 if the caller has the file already.

        Args:
            path: The path, decoded.
            raw_path: The same as it was sent.
            metadata: The headers of the request.
        """
        if not path.startswith(BELOW):
            # A relative address: a proxy may have cut a prefix off.
            headers: Headers = (("Location", "ui/"), ("Cache-Control", _CURRENT), ("Vary", "Accept"))
            return Answer(302, headers=headers, content_type=_TYPES[".html"])
        file = self._files.get(path)
        if file is not None:
            return file.answer(metadata, (*_OF_ALL, ("Cache-Control", _FOR_EVER)))
        if _is_file(path):
            # A page of another version asks for its files.
            headers = (*_OF_ALL, ("Cache-Control", _CURRENT))
            return Answer(404, b"the dashboard has no such file\n", headers, "text/plain; charset=utf-8")
        # The way back to /ui/, whatever is before it: so the path that a proxy has put it below is no setting.
        up = "../" * (raw_path.count("/") - BELOW.count("/")) or "./"
        page = _Packed(self._page.replace(b"{base}", up.encode()), _TYPES[".html"])
        return page.answer(metadata, (*_OF_THE_PAGE, ("Cache-Control", _CURRENT)))


# A place in the page can't look like this: no page is named so.
_is_file = re.compile(r"/ui/[0-9a-f]{12}/.+").fullmatch


def _files() -> dict[str, bytes]:
    """What is served: our modules as one, since a browser would ask for 60 files and compress none by another."""
    files = {str(path.relative_to(_HERE)): path.read_bytes() for path in shipped()}
    ours = {name: files.pop(name).decode() for name in sorted(files) if name.startswith("app/")}
    # It runs before the first paint, so it is no module.
    files[_FIRST] = ui_modules.stripped(ours.pop(_FIRST)).encode()
    files[_MODULES] = ui_modules.joined(ours).encode()
    return files


class _Packed:
    """A file, and the same compressed."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self._body = body
        self._gzip = zlib.compress(body, 6, _GZIP)
        self._content_type = content_type
        # Weak, because the file may be sent as gzip.
        self._tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'

    def answer(self, metadata: Mapping[str, str], headers: Headers) -> Answer:
        # Also with 304 and for the smallest file: what lies between keeps one answer for each encoding.
        headers = (*headers, ("ETag", self._tag), compression.VARIES)
        if self._is_known(metadata.get("if-none-match", "")):
            return Answer(304, headers=headers)
        if compression.prefers_gzip(metadata):
            headers = (*headers, ("Content-Encoding", "gzip"))
            return Answer(200, self._gzip, headers, self._content_type)
        return Answer(200, self._body, headers, self._content_type)

    def _is_known(self, tags: str) -> bool:
        """Whether a caller has it already: by the weak comparison, which passes over `W/`."""
        wanted = self._tag.removeprefix("W/")
        return any(each.strip().removeprefix("W/") in (wanted, "*") for each in tags.split(","))


def shipped() -> list[Path]:
    """The files that the page is made of, in an order that is always the same."""
    return sorted(path for path in _HERE.rglob("*") if path.suffix in _TYPES)
