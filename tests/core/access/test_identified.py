"""What a server remembers of tokens and certificates."""

from __future__ import annotations

from typing import Any

import pytest

from grpc_http2 import PeerCertificate
from jobqueue_server.core.access.identified import Identified, digest_of
from jobqueue_server.core.access.identities import Identities
from jobqueue_server.core.access.issuer import Verified
from jobqueue_server.errors import CredentialsExpired, CredentialsInvalid, CredentialsRevoked
from jobqueue_server.grants import NOTHING
from jobqueue_server.scope import Scope
from jobqueue_server.store.access.access import IdentityRow
from jobqueue_server.tls import RevokedCertificates

pytestmark = pytest.mark.unit

MINUTE = 60_000
SHOWN = PeerCertificate((), (), ("mailer",), b"authority", 7, 600.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def now_ms(self) -> int:
        return self.now


class Tokens:
    """Takes each text for the token of a mailer that ends at the 10th minute."""

    issuers = ("issuer",)

    def __init__(self) -> None:
        self.looks = 0

    async def verify(self, text: str, now_ms: int) -> Verified:
        self.looks += 1
        return Verified("issuer", "mailer", {}, 10 * MINUTE)


def row(id: int, kind: str, pattern: str, namespace: int = 1, issuer: str = "") -> IdentityRow:
    return IdentityRow(id, namespace, kind, issuer, pattern, "", "[]", None)


class World:
    def __init__(self, *rows: IdentityRow) -> None:
        self.clock, self.tokens, self.revoked = Clock(), Tokens(), RevokedCertificates({})
        self.identities = Identities(lambda: 1, ("issuer",))
        clock: Any = self.clock
        self.of = Identified(self.identities, self.tokens, self.revoked, clock, lambda namespace: None)
        self.known(*rows)

    def known(self, *rows: IdentityRow) -> None:
        self.identities.replace(rows, lambda text, of: NOTHING)
        self.of.forget()

    def look(self, shown: PeerCertificate) -> Scope:
        return self.of.look_at_certificate(shown, shown.common_names)


async def test_a_token_is_looked_at_again_after_five_minutes_and_not_past_its_end() -> None:
    world = World(row(1, "jwt", "mailer"))
    assert world.of.remembered("token") is None
    scope = await world.of.look_at_token("token", digest_of("token"))
    world.clock.now = 5 * MINUTE - 1
    assert world.of.remembered("token") is scope
    world.clock.now += 1
    assert world.of.remembered("token") is None
    world.clock.now = 8 * MINUTE
    scope = await world.of.look_at_token("token", digest_of("token"))
    world.clock.now = 10 * MINUTE - 1
    assert world.of.remembered("token") is scope
    assert world.of.now(scope) == (scope, None)
    world.clock.now += 1
    assert world.of.remembered("token") is None
    assert isinstance(world.of.now(scope)[1], CredentialsExpired)
    assert world.of.some_ended()
    assert not world.of.some_ended()


async def test_a_token_that_has_ended_costs_no_look_at_its_signature() -> None:
    world = World(row(1, "jwt", "mailer"))
    await world.of.look_at_token("token", digest_of("token"))
    world.clock.now = 10 * MINUTE
    looks = world.tokens.looks
    with pytest.raises(CredentialsExpired):
        await world.of.look_at_token("token", digest_of("token"))
    assert world.tokens.looks == looks


async def test_a_good_token_is_known_as_one_until_it_is_found_bad() -> None:
    world = World(row(1, "jwt", "mailer"))
    await world.of.look_at_token("token", digest_of("token"))
    world.of.forget()
    assert world.of.remembered("token") is None
    assert world.of.knows(digest_of("token"))
    world.known()
    with pytest.raises(CredentialsInvalid):
        await world.of.look_at_token("token", digest_of("token"))
    assert not world.of.knows(digest_of("token"))


async def test_what_is_remembered_does_not_outlive_its_identity() -> None:
    world = World(row(1, "jwt", "mailer"), row(2, "mtls", "mailer"))
    token, certificate = await world.of.look_at_token("token", digest_of("token")), world.look(SHOWN)
    assert world.of.remembered_certificate(SHOWN) is certificate
    world.known()
    assert world.of.remembered("token") is None
    assert world.of.remembered_certificate(SHOWN) is None
    for scope in (token, certificate):
        assert isinstance(world.of.now(scope)[1], CredentialsRevoked)
    assert world.identities.lost(lambda namespace: False) == ["identity:1", "identity:2"]
    with pytest.raises(CredentialsInvalid):
        await world.of.look_at_token("token", digest_of("token"))


async def test_who_is_moved_to_another_namespace_does_not_go_on_there() -> None:
    world = World(row(1, "mtls", "mailer"))
    scope = world.look(SHOWN)
    world.known(row(2, "mtls", "mailer", namespace=2))
    assert isinstance(world.of.now(scope)[1], CredentialsRevoked)


async def test_an_identity_for_another_issuer_stands_for_no_token() -> None:
    world = World(row(1, "jwt", "mailer", issuer="another"))
    with pytest.raises(CredentialsInvalid):
        await world.of.look_at_token("token", digest_of("token"))


async def test_another_identity_that_matches_takes_the_place_of_one_that_is_gone() -> None:
    world = World(row(1, "mtls", "mail*"), row(2, "mtls", "mailer"))
    scope = world.look(SHOWN)
    assert scope.credential == "identity:2"
    world.known(row(1, "mtls", "mail*"))
    now, error = world.of.now(scope)
    assert error is None
    assert (now.credential, now.principal) == ("identity:1", "mtls:mailer")


def test_a_certificate_is_good_until_its_end() -> None:
    world = World(row(1, "mtls", "mailer"))
    scope = world.look(SHOWN)
    world.clock.now = 10 * MINUTE - 1
    assert world.of.remembered_certificate(SHOWN) is scope
    assert not world.of.some_ended()
    world.clock.now += 1
    assert world.of.some_ended()
    assert world.of.remembered_certificate(SHOWN) is None
    assert isinstance(world.of.now(scope)[1], CredentialsExpired)
    with pytest.raises(CredentialsExpired, match="the certificate has expired"):
        world.look(SHOWN)


def test_a_certificate_is_revoked_by_its_issuer_and_its_number() -> None:
    world = World(row(1, "mtls", "mailer"))
    scope = world.look(SHOWN)
    world.revoked.replace({b"authority": frozenset({8}), b"another": frozenset({7})})
    assert world.of.now(scope) == (scope, None)
    world.revoked.replace({b"authority": frozenset({7})})
    assert isinstance(world.of.now(scope)[1], CredentialsRevoked)
    with pytest.raises(CredentialsRevoked):
        world.look(SHOWN)


def test_grants_that_change_do_not_forget_the_certificate() -> None:
    world = World(row(1, "mtls", "mail*"), row(2, "mtls", "mailer"))
    scope = world.look(SHOWN)
    world.known(row(1, "mtls", "mail*"))
    now, _ = world.of.now(scope)
    world.revoked.replace({b"authority": frozenset({7})})
    assert isinstance(world.of.now(now)[1], CredentialsRevoked)
