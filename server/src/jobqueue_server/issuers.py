"""Whose tokens are taken: one issuer by settings, several by a file."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .addresses import is_loopback
from .core.access.issuer import Issuer
from .settings import ALGORITHMS, Settings, SettingsInvalid

_SETTING = "JOBQUEUE_JWT_ISSUERS"
_TEXTS = ("issuer", "audience", "jwks_url")
_LISTS = ("algorithms", "claims")


def is_safe_url(url: str) -> bool:
    """Whether another answer can't be put on the way in the place of the one there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def read_issuers(settings: Settings) -> tuple[Issuer, ...]:
    """Whose tokens are taken; empty: tokens are not.

    Raises:
        SettingsInvalid: The file can't be used. It names the file, the table, the key and what would be right.
    """
    if "jwt" not in settings.auth:
        return ()
    if settings.jwt_issuers is not None:
        return _in_file(settings, settings.jwt_issuers)
    return (
        Issuer(
            settings.jwt_issuer,
            settings.jwt_audience,
            settings.jwt_jwks_url,
            settings.jwt_algorithms,
            settings.jwt_claims,
        ),
    )


def _in_file(settings: Settings, path: Path) -> tuple[Issuer, ...]:
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsInvalid(f"{_SETTING}: {path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{_SETTING}: {path} is not TOML: {error}") from None
    if not tables:
        raise SettingsInvalid(
            f"{_SETTING}: {path} is empty: write a table for each issuer, such as [company]"
        )
    found: dict[str, tuple[str, Issuer]] = {}
    for name, table in tables.items():
        issuer = _Table(settings, f"{_SETTING}: {path}", name).read(table)
        if issuer.name in found:
            other, _ = found[issuer.name]
            raise SettingsInvalid(
                f"{_SETTING}: {path}: [{name}] issuer is that of [{other}] too: write one table for each issuer"
            )
        found[issuer.name] = (name, issuer)
    return tuple(issuer for _, issuer in found.values())


class _Table:
    """The table of one issuer."""

    def __init__(self, settings: Settings, place: str, name: str) -> None:
        self._settings = settings
        self._place = place
        self._name = name

    def read(self, table: Any) -> Issuer:
        """What it says."""
        if not isinstance(table, dict):
            raise SettingsInvalid(
                f"{self._place}: {self._name} is in no table: write a table for each issuer, such as [company]"
            )
        for key in table:
            if key not in (*_TEXTS, *_LISTS):
                near = get_close_matches(key, (*_TEXTS, *_LISTS), n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join((*_TEXTS, *_LISTS))}"
                raise self._wrong(key, f"is no key of an issuer; {hint}")
        texts = {key: self._text(table, key) for key in _TEXTS}
        if "#" in texts["issuer"]:
            raise self._wrong("issuer", "should have no #, as the claim iss of no issuer has")
        if not is_safe_url(texts["jwks_url"]):
            raise self._wrong("jwks_url", "should be an https URL; http is for a loopback")
        algorithms = self._list(table, "algorithms", self._settings.jwt_algorithms)
        if set(algorithms) - set(ALGORITHMS):
            raise self._wrong("algorithms", f"should be a list of {', '.join(ALGORITHMS)}")
        claims = self._list(table, "claims", self._settings.jwt_claims)
        return Issuer(texts["issuer"], texts["audience"], texts["jwks_url"], algorithms, claims)

    def _text(self, table: dict[str, Any], key: str) -> str:
        if key not in table:
            raise self._wrong(key, f"is missing: {_REMEDIES[key]}")
        value = table[key]
        if not isinstance(value, str) or not value:
            raise self._wrong(key, f"should be a text: {_REMEDIES[key]}")
        return value

    def _list(self, table: dict[str, Any], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = table.get(key, list(default))
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(each, str) and each for each in value)
        ):
            raise self._wrong(key, f"should be a list of texts, such as {list(default)}")
        return tuple(value)

    def _wrong(self, key: str, what: str) -> SettingsInvalid:
        return SettingsInvalid(f"{self._place}: [{self._name}] {key} {what}")


_REMEDIES = {
    "issuer": "name the issuer, as the claim iss of its tokens does",
    "audience": "name the audience that the issuer gives tokens for this server",
    "jwks_url": "name where the issuer's keys are by https",
}
