"""What limits a credential beside its grants: no key or identity that it makes goes beyond these. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from ...errors import FieldViolation, NotAllowed
from ...store.access.access import Limit


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a credential that makes others.

    A token and a certificate end too, but their principal does not: it gets new ones. So they bound no expiry.

    Attributes:
        ends_at: When the key ends; None: by no clock.
        networks: From where it is good; none: from anywhere.
        limit: How often it may be used; None: as often as wished.
    """

    ends_at: datetime | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    limit: Limit | None = None

    def check_new(
        self, now: datetime, lifetime: timedelta | None, networks: Sequence[str], limit: Limit | None
    ) -> None:
        """Lets a new key pass that is within these.

        Args:
            now: By the database's clock.
            lifetime: How long the key is to be good; None: until it is revoked.
            networks: As they were checked for their form.
            limit: Its rate; None: none.

        Raises:
            NotAllowed: It would be wider. The violations name all that is, and what would be right.
        """
        _refuse(
            "make a key that is wider than they are",
            [*self._lifetime(now, lifetime), *self._networks(networks), *self._limit(limit)],
        )

    def check_successor(
        self,
        now: datetime,
        key_id: str,
        lifetime: timedelta | None,
        networks: Sequence[str],
        limit: Limit | None,
    ) -> None:
        """Lets the successor of a key pass, which has the networks and the rate of that key.

        Raises:
            NotAllowed: As `check_new`.
        """
        violations = list(self._lifetime(now, lifetime))
        # What is wrong with the old key is not a field of the request.
        violations += [
            FieldViolation("id", f"the key {key_id} is wider: of a new key {one.field} {one.description}")
            for one in (*self._networks(networks), *self._limit(limit))
        ]
        _refuse("make a key that is wider than they are", violations)

    def check_identity(self, limit: Limit | None) -> None:
        """Lets an identity pass. It has no expiry and no networks, so who is bound by these makes none.

        Raises:
            NotAllowed: It would be wider.
        """
        violations = list(self._limit(limit))
        if self.ends_at is not None:
            why = f"they end at {_moment(self.ends_at)}, and an identity never ends"
            violations.append(FieldViolation("pattern", f"needs a key without an expiry: {why}"))
        if self.networks:
            why = f"they are good from {_listed(self.networks)} alone, and an identity is good from anywhere"
            violations.append(FieldViolation("pattern", f"needs a key without networks: {why}"))
        _refuse("make an identity that is wider than they are", violations)

    def _lifetime(self, now: datetime, lifetime: timedelta | None) -> Iterator[FieldViolation]:
        ends_at = self.ends_at
        if ends_at is not None and (lifetime is None or now + lifetime > ends_at):
            must = "must be set, and end" if lifetime is None else "must end"
            yield FieldViolation("expires_in", f"{must} by {_moment(ends_at)}, when these credentials end")

    def _networks(self, networks: Sequence[str]) -> Iterator[FieldViolation]:
        if not self.networks:
            return
        right = f"within {_listed(self.networks)}, from where these credentials are good"
        if not networks:
            yield FieldViolation("networks", f"must name at least one network {right}")
        for index, text in enumerate(networks):
            if not _covers(self.networks, ip_network(text)):
                yield FieldViolation(f"networks[{index}]", f"must be {right}")

    def _limit(self, limit: Limit | None) -> Iterator[FieldViolation]:
        most = self.limit
        if most is None:
            return
        if limit is None:
            right = f"at most {most.rate} a second with a burst of at most {most.burst}"
            yield FieldViolation("rate_limit", f"must be set, to {right}, as these credentials have")
            return
        for name, value, bound in (
            ("per_second", limit.rate, most.rate),
            ("burst", limit.burst, most.burst),
        ):
            if value > bound:
                yield FieldViolation(
                    f"rate_limit.{name}", f"must be at most {bound}, as these credentials have"
                )


def _refuse(doing: str, violations: Sequence[FieldViolation]) -> None:
    if violations:
        wrong = "; ".join(f"{one.field} {one.description}" for one in violations)
        raise NotAllowed(
            f"these credentials may not {doing}: {wrong}",
            metadata={"permission": "ADMIN"},
            violations=violations,
        )


def _covers(wide: Sequence[IPv4Network | IPv6Network], narrow: IPv4Network | IPv6Network) -> bool:
    """Whether each address of a network is in these, also where two of them make it together."""
    if isinstance(narrow, IPv4Network):
        four = collapse_addresses([each for each in wide if isinstance(each, IPv4Network)])
        return any(narrow.subnet_of(each) for each in four)
    six = collapse_addresses([each for each in wide if isinstance(each, IPv6Network)])
    return any(narrow.subnet_of(each) for each in six)


def _listed(networks: Sequence[IPv4Network | IPv6Network]) -> str:
    return ", ".join(map(str, networks))


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
