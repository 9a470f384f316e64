"""Principals whose credentials others made: what names in certificates and claims of tokens stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ... import logs
from ...grants import Grants, matches
from ...rates import Bucket
from ...scope import Maker, Scope
from ...store.access.access import IdentityRow

_log = logs.get(__name__)

CREDENTIAL = "identity:"
MTLS, JWT = "mtls", "jwt"
#: Principals that are remembered with their scope, and identities that are gone.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Identity:
    """An identity, compiled."""

    row: IdentityRow
    grants: Grants

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Of several that match the greatest holds: a whole name before a prefix, a long one before a short one."""
        pattern = self.row.pattern
        return not pattern.endswith("*"), len(pattern), -self.row.id


class Identities:
    """All identities that this server knows.

    Args:
        servers: How many servers there are, between which rates are divided.
        issuers: Whose tokens are taken. An identity that names no issuer is for the only one; where there are several
            it is for none, so that no issuer can make tokens for what another was trusted with.
    """

    def __init__(self, servers: Callable[[], int], issuers: Sequence[str] = ()) -> None:
        self._servers = servers
        self._only = issuers[0] if len(issuers) == 1 else None
        self._takes_tokens = bool(issuers)
        self._all: dict[int, _Identity] = {}
        # Those for certificates are of no issuer.
        self._by_issuer: dict[tuple[str, str], list[_Identity]] = {}
        self._scopes: dict[tuple[int, str], Scope] = {}
        # By the principal. Kept over changes, so that none of them fills it.
        self._buckets: dict[str, Bucket] = {}
        self._gone: dict[int, None] = {}

    def replace(self, rows: Sequence[IdentityRow], grants_of: Callable[[str, str], Grants]) -> bool:
        """Takes what the database holds now. Answers whether it is other than before.

        Args:
            rows: All of them, by id.
            grants_of: Reads the stored text of the grants of what is named.
        """
        before = self._all
        if [identity.row for identity in before.values()] == list(rows):
            return False
        self._all = {row.id: _Identity(row, grants_of(row.grants, f"identity {row.id}")) for row in rows}
        self._by_issuer = {}
        for identity in sorted(self._all.values(), key=lambda identity: identity.rank, reverse=True):
            row = identity.row
            issuer = row.issuer or self._only if row.kind == JWT else ""
            if issuer is None:
                _log.warning("an identity names no issuer of several, so it is for no token", identity=row.id)
            else:
                self._by_issuer.setdefault((row.kind, issuer), []).append(identity)
        self._scopes.clear()
        self._gone.update(dict.fromkeys(before.keys() - self._all.keys()))
        while len(self._gone) > _MOST:
            del self._gone[next(iter(self._gone))]
        return True

    def of_names(self, names: Sequence[str]) -> Scope | None:
        """Whom a certificate with these names is of: the first of them that an identity is for, or None."""
        for name in names:
            found = self._best(MTLS, "", name, {})
            if found is not None:
                return self._scope(found, f"{MTLS}:{name}")
        return None

    def of_token(self, issuer: str, subject: str, claims: Mapping[str, Any]) -> Scope | None:
        """Whom a token is of, by its issuer, its subject and its other claims."""
        found = self._best(JWT, issuer, subject, claims)
        return None if found is None else self._scope(found, f"{JWT}:{issuer}#{subject}")

    def now(self, scope: Scope) -> Scope | None:
        """The scope of a principal as its identity is now, the same one where nothing has changed; None: it has gone.

        Of a token only the subject is known any more; an identity for another claim holds as long as it is there.
        """
        kind, _, name = scope.principal.partition(":")
        issuer = ""
        if kind == JWT:
            issuer, _, name = name.partition("#")
        own = self._all.get(int(scope.credential.removeprefix(CREDENTIAL)))
        found = self._best(kind, issuer, name, {})
        if own is not None and own.row.claim and (found is None or own.rank > found.rank):
            found = own
        if found is None or found.row.namespace != scope.namespace:
            return None
        now = self._scope(found, scope.principal)
        if (now.grants, now.credential, now.bucket) == (scope.grants, scope.credential, scope.bucket):
            return scope
        return replace(now, ends_ms=scope.ends_ms, certificate=scope.certificate)

    def ended(self, maker: Maker) -> bool:
        """Whether no identity is for a principal any more, as far as this server can say.

        The claims of a token are not known any more: an identity that it was taken for holds as long as it is there. A
        server that takes no tokens says nothing of them.
        """
        kind = maker.principal.partition(":")[0]
        if kind not in (MTLS, JWT) or (kind == JWT and not (self._takes_tokens and maker.credentials)):
            return False
        return all(
            self.now(Scope(maker.namespace, maker.principal, credential=each)) is None
            for each in maker.credentials or (f"{CREDENTIAL}0",)
        )

    def grants(self, maker: Maker) -> Grants | None:
        """What a principal may do now; None: it is of no identity that this server knows."""
        if not maker.credential.startswith(CREDENTIAL):
            return None
        now = self.now(Scope(maker.namespace, maker.principal, credential=maker.credential))
        return None if now is None else now.grants

    def lost(self, disabled: Callable[[int], bool]) -> list[str]:
        """The credentials of identities that are gone, or whose namespace is disabled."""
        there = [id for id, identity in self._all.items() if disabled(identity.row.namespace)]
        return [f"{CREDENTIAL}{id}" for id in (*self._gone, *there)]

    def _best(self, kind: str, issuer: str, name: str, claims: Mapping[str, Any]) -> _Identity | None:
        for identity in self._by_issuer.get((kind, issuer), ()):
            row = identity.row
            values = _texts(claims.get(row.claim)) if row.claim else (name,)
            if any(matches(row.pattern, value) for value in values):
                return identity
        return None

    def _scope(self, identity: _Identity, principal: str) -> Scope:
        row = identity.row
        scope = self._scopes.get((row.id, principal))
        if scope is None:
            if len(self._scopes) >= _MOST:
                self._scopes.clear()
            scope = Scope(
                row.namespace,
                principal,
                identity.grants,
                f"{CREDENTIAL}{row.id}",
                self._bucket(row, principal),
            )
            self._scopes[row.id, principal] = scope
        return scope

    def _bucket(self, row: IdentityRow, principal: str) -> Bucket | None:
        if row.limit is None:
            return None
        kept = self._buckets.get(principal)
        if kept is not None and (kept.rate, kept.burst) == (row.limit.rate, row.limit.burst):
            return kept
        if len(self._buckets) >= _MOST:
            del self._buckets[next(iter(self._buckets))]
        made = self._buckets[principal] = Bucket(row.limit.rate, row.limit.burst, self._servers)
        return made


def _texts(claim: Any) -> tuple[str, ...]:
    """The values of a claim that is a text or a list of texts."""
    values = claim if isinstance(claim, list) else [claim]
    return tuple(value for value in values if isinstance(value, str))
