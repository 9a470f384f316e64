"""Tokens of OIDC issuers (JWT): whether one is good, and what it says."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError

from ...errors import CredentialsExpired, CredentialsInvalid
from .issuer import Issuer, Verified
from .issuer_keys import IssuerKeys

#: How far the clock of an issuer may be ahead of the database's, in seconds.
_AHEAD = 60
_TYPES = ("jwt", "at+jwt")
#: The longest subject, as the pattern of an identity has it.
_MOST_SUBJECT = 512


class _Registry(jws.JWSRegistry):
    # Some issuers put their certificate into the header.
    max_header_length = 8192


class Tokens:
    """Checks tokens, each by the issuer that it names and by no other.

    Args:
        issuers: Whose tokens are taken.
    """

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self._each = {issuer.name: IssuerTokens(issuer) for issuer in issuers}
        self.issuers = tuple(self._each)

    @property
    def keys(self) -> Mapping[str, IssuerKeys]:
        """The keys of each issuer, by its name."""
        return {name: each.keys for name, each in self._each.items()}

    async def verify(self, text: str, now_ms: int) -> Verified:
        """What a token says.

        Raises:
            CredentialsInvalid: It is of none of the issuers, not for this server, or not yet good.
            CredentialsExpired: It was good.
            IssuerAway: Whether it is good can't be said, since the issuer's keys can't be read.
        """
        issuer = self._each.get(_named(text))
        if issuer is None:
            raise _invalid("its issuer is another one")
        return await issuer.verify(text, now_ms)


class IssuerTokens:
    """Checks tokens of one issuer.

    Args:
        issuer: Whose they are.
        keys: Its keys.
    """

    def __init__(self, issuer: Issuer, keys: IssuerKeys | None = None) -> None:
        self.keys = keys or IssuerKeys(issuer.keys_url)
        self._issuer = issuer
        # Parameters that are not known are passed over, as RFC 7515 says; but for those that `crit` lists.
        self._registry = _Registry(algorithms=issuer.algorithms, strict_check_header=False)

    async def verify(self, text: str, now_ms: int) -> Verified:
        """What a token says.

        Raises:
            CredentialsInvalid: It is not the issuer's, not for this server, or not yet good.
            CredentialsExpired: It was good.
            IssuerAway: Whether it is good can't be said, since the issuer's keys can't be read.
        """
        claims = await self._signed(text)
        issuer = self._issuer
        if claims.get("iss") != issuer.name:
            raise _invalid("its issuer is another one")
        audience = claims.get("aud")
        if audience != issuer.audience and not (isinstance(audience, list) and issuer.audience in audience):
            raise _invalid("it is for another audience")
        now = now_ms / 1000
        for name in ("nbf", "iat"):
            at = _moment(claims, name)
            if at is not None and at > now + _AHEAD:
                raise _invalid(f"its {name} is in the future")
        ends = _moment(claims, "exp")
        if ends is None:
            raise _invalid("it has no exp")
        if ends <= now:
            raise CredentialsExpired("the token has expired; show a new one")
        return Verified(issuer.name, self._subject(claims), claims, int(ends * 1000))

    async def _signed(self, text: str) -> Mapping[str, Any]:
        """The claims of a token that one of the issuer's keys has signed."""
        try:
            token = jws.extract_compact(text.encode("ascii"), registry=self._registry)
            header = token.headers()
            algorithm, kid = header.get("alg"), header.get("kid")
            if str(header.get("typ", "JWT")).lower().removeprefix("application/") not in _TYPES:
                raise _invalid("its type is another one")
            key = await self.keys.get(kid) if isinstance(kid, str) else None
            if key is None or key.get("alg", algorithm) != algorithm:
                raise _invalid("it is signed by a key that the issuer does not have")
            if not jws.validate_compact(token, key, registry=self._registry):
                raise _invalid("its signature is not that of the issuer's key")
            claims = json.loads(token.payload)
        except UnsupportedAlgorithmError:
            raise _invalid(
                "it is signed by an algorithm that is not taken (JOBQUEUE_JWT_ALGORITHMS)"
            ) from None
        except (JoseError, ValueError, TypeError, RecursionError):
            raise _invalid("it can't be read") from None
        if not isinstance(claims, dict):
            raise _invalid("it has no claims")
        return claims

    def _subject(self, claims: Mapping[str, Any]) -> str:
        for name in self._issuer.claims:
            value = claims.get(name)
            if isinstance(value, str) and 0 < len(value) <= _MOST_SUBJECT:
                return value
        raise _invalid(f"it has no claim {' or '.join(self._issuer.claims)} that names its subject")


def _named(text: str) -> str:
    """The issuer that a token names, before anything is known of its signature; empty where it names none."""
    try:
        payload = text.split(".")[1]
        named = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iss"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return named if isinstance(named, str) else ""


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim in seconds since 1970."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise _invalid(f"its {name} is no number of seconds since 1970")
    return float(value)


def _invalid(why: str) -> CredentialsInvalid:
    return CredentialsInvalid(f"the token is not good: {why}")
