"""The public keys of an issuer of tokens, read over HTTP and kept."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, RSAKey, import_key

from ...errors import IssuerAway

_log = logging.getLogger(__name__)

#: How often they are read, in seconds; and at the soonest again, after a try that failed or for an unknown key.
EVERY, AGAIN_AFTER = 600.0, 30.0
#: For how long keys are good that could not be read again, in seconds.
KEPT = 86_400.0
#: What an answer may take and have.
SECONDS, MOST_BYTES, MOST_KEYS = 5.0, 256 << 10, 64
_LEAST_RSA_BITS = 2048
_PIECE = 16 << 10


class KeysUnusable(Exception):
    """What the issuer answers is no set of keys. The text says why."""


class IssuerKeys:
    """The keys by their ids.

    Args:
        url: Where they are.
        read: Reads them, in a thread.
        now: Seconds of a clock that only goes on.
    """

    def __init__(
        self,
        url: str,
        read: Callable[[str], Mapping[str, Key]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._read = read or read_keys
        self._now = now
        self._keys: Mapping[str, Key] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._trying = asyncio.Lock()
        self._away = False

    async def run(self) -> None:
        """Reads them every ten minutes until cancelled, and more often while that fails."""
        while True:
            await self._try()
            await asyncio.sleep(AGAIN_AFTER if self._away else EVERY)

    async def get(self, kid: str) -> Key | None:
        """The key of this id; None where the issuer has none.

        Raises:
            IssuerAway: None were read lately.
        """
        if kid not in self._keys:
            await self._try()
        if self._read_at is None or self._now() - self._read_at > KEPT:
            raise IssuerAway("the keys of the issuer of tokens can't be read now; try again, or use a key")
        return self._keys.get(kid)

    async def _try(self) -> None:
        async with self._trying:
            if self._tried_at is not None and self._now() - self._tried_at < AGAIN_AFTER:
                return
            self._tried_at = self._now()
            try:
                self._keys = await asyncio.to_thread(self._read, self._url)
            except KeysUnusable as error:
                if not self._away:
                    _log.error(
                        "the keys of the issuer can't be read; those of before are good for a day: %s", error
                    )
                self._away = True
                return
            self._read_at = self._now()
            self._away = False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Where an issuer's keys are is said by the settings alone."""

    def redirect_request(self, *_: Any) -> None:
        """None is followed."""


def read_keys(url: str) -> Mapping[str, Key]:
    """Reads the keys there. Those that no token can be checked by are passed over.

    Raises:
        KeysUnusable: It does not answer, or not with keys.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    ends = time.monotonic() + SECONDS
    try:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        with opener.open(request, timeout=SECONDS) as answer:
            body = b""
            while part := answer.read1(_PIECE):
                body += part
                if len(body) > MOST_BYTES:
                    raise KeysUnusable(f"{url} answers more than {MOST_BYTES} bytes")
                if time.monotonic() > ends:
                    raise KeysUnusable(f"{url} has not answered within {SECONDS:g} s")
    except urllib.error.HTTPError as error:
        raise KeysUnusable(f"{url} answers {error.code}") from None
    except (OSError, ValueError) as error:
        raise KeysUnusable(f"{url} does not answer: {error}") from None
    return keys_of(url, body)


def keys_of(url: str, body: bytes) -> Mapping[str, Key]:
    """The keys in a JSON Web Key Set, by their ids."""
    try:
        listed = json.loads(body)["keys"]
        if not isinstance(listed, list) or len(listed) > MOST_KEYS:
            raise KeysUnusable(f"{url} should list at most {MOST_KEYS} keys")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeysUnusable(f"{url} answers no JSON Web Key Set") from None
    found = {kid: key for each in listed if (named := _key(each)) is not None for kid, key in (named,)}
    if not found:
        raise KeysUnusable(f"{url} has no public key with an id that tokens can be checked by")
    return found


def _key(listed: Any) -> tuple[str, Key] | None:
    if not isinstance(listed, dict) or listed.get("kty") == "oct" or listed.get("use", "sig") != "sig":
        return None
    kid = listed.get("kid")
    if not isinstance(kid, str) or not kid:
        return None
    try:
        with warnings.catch_warnings():
            # Of keys that are too short, which are passed over.
            warnings.simplefilter("ignore", SecurityWarning)
            key = import_key(listed)
        if isinstance(key, RSAKey) and key.public_key.key_size < _LEAST_RSA_BITS:
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return kid, key
