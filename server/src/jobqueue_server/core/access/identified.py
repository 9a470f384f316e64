"""Callers whose credentials others made: tokens of an issuer and certificates of an authority."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...errors import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsRevoked,
    JobQueueError,
    NamespaceDisabled,
)
from ...grants import Grants
from ...scope import Maker, Scope
from ..upkeep.clock import Clock
from .identities import Identities
from .issuer import Verified

#: How long a good token is not looked at again, in milliseconds.
_LOOK_EVERY_MS = 300_000
#: Tokens and certificates that are remembered with their verdict.
_MOST = 10_000


class Tokens(Protocol):
    """What checks tokens of issuers, by their names."""

    @property
    def issuers(self) -> Sequence[str]:
        """Whose tokens are taken."""

    async def verify(self, text: str, now_ms: int) -> Verified:
        """What a token says.

        Raises:
            CredentialsInvalid: It is not the issuer's, not for this server, or not yet good.
            CredentialsExpired: It was good.
            IssuerAway: Whether it is good can't be said, since the issuer's keys can't be read.
        """


class Certificate(Protocol):
    """What a caller showed, which its connection has verified. It can be hashed."""

    @property
    def issuer(self) -> bytes:
        """The name of who signed it."""

    @property
    def serial(self) -> int:
        """Its number among those of the issuer."""

    @property
    def ends(self) -> float:
        """When it ends, in seconds since 1970."""


class Revoked(Protocol):
    """The certificates that their authorities have revoked. The list changes."""

    def has(self, issuer: bytes, serial: int) -> bool:
        """Whether a certificate is among them."""

    def hear_change(self, listener: Callable[[], object]) -> None:
        """There may be others now."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a look at a token found. It stays until the token ends, so that a good token is known as one.

    Attributes:
        scope: Whose it is.
        again_ms: When it is to be looked at again; 0: with its next call.
        ends_ms: When it ends.
    """

    scope: Scope
    again_ms: int
    ends_ms: int


class Identified:
    """Who they are by what they show.

    Args:
        identities: Whom tokens and certificates stand for.
        tokens: Checks tokens; None: they are not taken.
        revoked: Certificates that are not good any more; None: there is no list of them.
        clock: The database's time, by which tokens and certificates end.
        check_namespace: Raises NamespaceDisabled for a namespace that is not in use.
    """

    def __init__(
        self,
        identities: Identities,
        tokens: Tokens | None,
        revoked: Revoked | None,
        clock: Clock,
        check_namespace: Callable[[int], None],
    ) -> None:
        self._identities = identities
        self._tokens = tokens
        self._revoked = revoked
        self._clock = clock
        self._check_namespace = check_namespace
        # Tokens by their hash: they may have 16 KiB.
        self._verdicts: dict[str, _Verdict] = {}
        self._certificates: dict[Certificate, Scope] = {}
        # When tokens and certificates end that were shown, each second once.
        self._ends: list[int] = []

    def forget(self) -> None:
        """What was found so far may not hold any more."""
        self._verdicts = {digest: replace(found, again_ms=0) for digest, found in self._verdicts.items()}
        self._certificates.clear()

    def some_ended(self) -> bool:
        """Whether a token or a certificate that was shown has ended since the last time."""
        now, ended = self._clock.now_ms(), False
        while self._ends and self._ends[0] * 1000 <= now:
            heapq.heappop(self._ends)
            ended = True
        return ended

    def remembered(self, text: str) -> Scope | None:
        """The scope of a token that was looked at before and is good now; None where `look_at_token` has to say."""
        verdict = self._verdicts.get(digest_of(text))
        if verdict is None or self._clock.now_ms() >= verdict.again_ms:
            return None
        return verdict.scope

    def knows(self, digest: str) -> bool:
        """Whether a token with this hash was good, the last time that it was looked at."""
        return digest in self._verdicts

    async def look_at_token(self, text: str, digest: str) -> Scope:
        """The scope of a caller that shows a token of the issuer.

        Args:
            text: The token.
            digest: Its hash.

        Raises:
            CredentialsInvalid: It is not good, or no identity is for it.
            CredentialsExpired: It was good.
            IssuerAway: Whether it is good can't be said.
            NamespaceDisabled: The namespace of its identity is not in use.
        """
        if self._tokens is None:
            raise CredentialsInvalid("tokens are not taken here; show a key")
        now = self._clock.now_ms()
        known = self._verdicts.get(digest)
        if known is not None and now >= known.ends_ms:
            # Known without a look at its signature: who goes on with it costs no more.
            raise CredentialsExpired("the token has expired; show a new one")
        try:
            verified = await self._tokens.verify(text, now)
        except CredentialsInvalid:
            # Its issuer has taken back the key that signed it.
            self._verdicts.pop(digest, None)
            raise
        base = self._identities.of_token(verified.issuer, verified.subject, verified.claims)
        if base is None:
            self._verdicts.pop(digest, None)
            raise CredentialsInvalid(
                f"the token is good, but no identity is for {verified.subject!r} of {verified.issuer}; an "
                "administrator can put one"
            )
        self._check_namespace(base.namespace)
        scope = replace(base, ends_ms=verified.ends_ms)
        # Behind the others, so that the one goes first that was looked at longest ago.
        self._verdicts.pop(digest, None)
        if len(self._verdicts) >= _MOST:
            del self._verdicts[next(iter(self._verdicts))]
        again_ms = min(verified.ends_ms, now + _LOOK_EVERY_MS)
        self._verdicts[digest] = _Verdict(scope, again_ms, verified.ends_ms)
        self._note_end(verified.ends_ms)
        return scope

    def _note_end(self, ends_ms: int) -> None:
        second = -(-ends_ms // 1000)
        if second not in self._ends and len(self._ends) < _MOST:
            heapq.heappush(self._ends, second)

    def remembered_certificate(self, shown: Certificate) -> Scope | None:
        """The scope of a certificate that was looked at before and is good now; None where a look has to say."""
        scope = self._certificates.get(shown)
        if scope is None or scope.ends_ms is None or self._clock.now_ms() >= scope.ends_ms:
            return None
        return scope

    def look_at_certificate(self, shown: Certificate, names: tuple[str, ...]) -> Scope:
        """The scope of a caller that shows a certificate.

        Args:
            shown: The certificate.
            names: Those of its names that say who the caller is.

        Raises:
            CredentialsRevoked, CredentialsExpired: It is not good any more. Its connection was made before.
            CredentialsInvalid: No identity is for one of these names.
            NamespaceDisabled: The namespace of its identity is not in use.
        """
        base = self._identities.of_names(names)
        if base is None:
            named = " or ".join(map(repr, names[:3])) or "a certificate without a name that counts"
            raise CredentialsInvalid(f"no identity is for {named}; an administrator can put one")
        scope = replace(base, ends_ms=int(shown.ends * 1000), certificate=(shown.issuer, shown.serial))
        if (error := self._ended(scope)) is not None:
            raise error
        self._check_namespace(scope.namespace)
        if len(self._certificates) >= _MOST:
            del self._certificates[next(iter(self._certificates))]
        self._certificates[shown] = scope
        self._note_end(int(shown.ends * 1000))
        return scope

    def scope_of_names(self, names: tuple[str, ...]) -> Scope | None:
        """The scope of who shows a certificate with these names, good or not; None: no identity is for them."""
        return self._identities.of_names(names)

    def _ended(self, scope: Scope) -> JobQueueError | None:
        """Why what was shown is not good any more."""
        revoked, shown = self._revoked, scope.certificate
        if revoked is not None and shown is not None and revoked.has(*shown):
            return CredentialsRevoked("the certificate was revoked by its authority; connect with a new one")
        if scope.ends_ms is not None and self._clock.now_ms() >= scope.ends_ms:
            what = "token" if scope.certificate is None else "certificate"
            return CredentialsExpired(f"the {what} has expired; show a new one")
        return None

    def now(self, scope: Scope) -> tuple[Scope, JobQueueError | None]:
        """What became of a token or a certificate that was good when a stream or a session began."""
        now = self._identities.now(scope)
        if now is None:
            return scope, CredentialsRevoked(f"no identity is for {scope.principal} any more")
        try:
            self._check_namespace(scope.namespace)
        except NamespaceDisabled as error:
            return scope, error
        ended = self._ended(scope)
        return (now, None) if ended is None else (scope, ended)

    def grants(self, maker: Maker) -> Grants | None:
        """As `Identities.grants`."""
        return self._identities.grants(maker)


def digest_of(text: str) -> str:
    """The hash that a token is remembered by."""
    return hashlib.sha256(text.encode()).hexdigest()
