"""Several issuers: a token is checked by the issuer that it names, and by no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue_server.core.access import issuer_keys, keys
from jobqueue_server.grants import Grants, Permission
from jobqueue_server.store.access.access import NewKey
from tests.lease.hand_worker import PATIENCE, reason_of

from .gatehouse import Gatehouse
from .house import TESTS, grant
from .issuer import AUDIENCE, Issuer

ENQUEUE, READ, ADMIN = Permission.ENQUEUE, Permission.READ, Permission.ADMIN
FIRST, SECOND = "https://first.example.com", "https://second.example.com"


@pytest.fixture
def first() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def second() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def issuers(first: Issuer, second: Issuer, tmp_path: Path) -> str:
    """The file of both. The second has another audience and another claim for the subject."""
    path = tmp_path / "issuers.toml"
    path.write_text(
        f"""
        [first]
        issuer = "{FIRST}"
        audience = "{AUDIENCE}"
        jwks_url = "{first.url}"

        [second]
        issuer = "{SECOND}"
        audience = "queue"
        jwks_url = "{second.url}"
        algorithms = ["RS256"]
        claims = ["email", "sub"]
        """
    )
    return str(path)


@pytest.fixture
async def house(dsn: str, issuers: str, second: Issuer) -> AsyncIterator[Gatehouse]:
    second.new_key("two", "RSA")
    async with Gatehouse(dsn, auth="keys,jwt", jwt_issuers=issuers) as house:
        yield house


def of_first(issuer: Issuer, **claims: Any) -> str:
    return issuer.token(**{"iss": FIRST, **claims})


def of_second(issuer: Issuer, **claims: Any) -> str:
    return issuer.token("two", "RS256", **{"iss": SECOND, "aud": "queue", **claims})


async def answer(house: Gatehouse, token: str, queue: str = "default") -> str:
    """The reason of an enqueue; empty where it is let in."""
    try:
        await house.caller(authorization=f"Bearer {token}").enqueue(queue=queue)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


async def test_each_issuer_has_its_own_audience_algorithms_and_claims(
    house: Gatehouse, first: Issuer, second: Issuer
):
    await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=FIRST)
    await house.identity("jwt", "ada@example.com", grant(ENQUEUE), issuer=SECOND)
    assert await answer(house, of_first(first)) == ""
    assert await answer(house, of_second(second, email="ada@example.com")) == ""
    assert await answer(house, of_first(first, aud="queue")) == "CREDENTIALS_INVALID"
    assert (
        await answer(house, of_second(second, email="ada@example.com", aud=AUDIENCE)) == "CREDENTIALS_INVALID"
    )
    es256 = second.token("one", "ES256", iss=SECOND, aud="queue", email="ada@example.com")
    assert await answer(house, es256) == "CREDENTIALS_INVALID"


async def test_no_issuer_s_key_signs_for_another(house: Gatehouse, first: Issuer, second: Issuer):
    await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=FIRST)
    await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=SECOND)
    # The second's key, by its own id and by that of the first's key.
    assert await answer(house, second.token("two", "RS256", iss=FIRST)) == "CREDENTIALS_INVALID"
    assert await answer(house, second.token("one", "ES256", iss=FIRST)) == "CREDENTIALS_INVALID"
    first.new_key("two", "RSA")
    assert await answer(house, of_second(first)) == "CREDENTIALS_INVALID"
    asked = first.asked, second.asked
    assert await answer(house, of_first(first, iss="https://third.example.com")) == "CREDENTIALS_INVALID"
    assert (first.asked, second.asked) == asked


async def test_one_subject_at_two_issuers_is_two_principals(house: Gatehouse, first: Issuer, second: Issuer):
    await house.identity("jwt", "mailer", grant(ENQUEUE, "of-first"), issuer=FIRST)
    await house.identity("jwt", "mailer", grant(ENQUEUE, "of-second"), issuer=SECOND)
    for token, own, other in (
        (of_first(first), "of-first", "of-second"),
        (of_second(second), "of-second", "of-first"),
    ):
        assert await answer(house, token, own) == ""
        assert await answer(house, token, other) == "NOT_ALLOWED"
    seen = [
        (
            await house.caller(authorization=f"Bearer {token}").access.GetAccess(pb.GetAccessRequest())
        ).principal
        for token in (of_first(first), of_second(second))
    ]
    assert seen == [f"jwt:{FIRST}#mailer", f"jwt:{SECOND}#mailer"]


async def test_an_identity_that_names_no_issuer_is_for_none_of_several(
    house: Gatehouse, first: Issuer, second: Issuer
):
    await house.identity("jwt", "*", grant(ENQUEUE))
    assert await answer(house, of_first(first)) == "CREDENTIALS_INVALID"
    assert await answer(house, of_second(second)) == "CREDENTIALS_INVALID"
    key = keys.mint()
    new = NewKey(key.id, "ops", key.secret_hash, Grants([grant(ADMIN | ENQUEUE)]), "tests")
    await house.app.stores.access.insert_key(TESTS, 1, new)
    await house.known()
    asked = pb.PutIdentityRequest(kind="jwt", pattern="*")
    asked.grants.add(permissions=[2], queues=["*"], kinds=["*"])
    with pytest.raises(
        grpc.aio.AioRpcError, match=f"issuer: must be one of the issuers .* {FIRST}, {SECOND}"
    ):
        await house.caller(authorization=f"Bearer {key.text}").access.PutIdentity(asked)


async def test_while_one_issuer_is_away_the_other_s_tokens_are_taken(
    dsn: str, issuers: str, first: Issuer, second: Issuer
):
    first.answer = lambda request: Issuer.tell(request, {}, 503)
    second.new_key("two", "RSA")
    async with Gatehouse(dsn, auth="jwt", jwt_issuers=issuers) as house:
        await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=FIRST)
        await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=SECOND)
        assert await answer(house, of_first(first)) == "ISSUER_AWAY"
        assert await answer(house, of_second(second)) == ""


async def test_an_issuer_that_does_not_answer_holds_up_its_own_tokens_alone(
    dsn: str, issuers: str, first: Issuer, second: Issuer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(issuer_keys, "SECONDS", PATIENCE)
    asked, go_on = threading.Event(), threading.Event()

    def hangs(request: Any) -> None:
        asked.set()
        go_on.wait(PATIENCE)
        Issuer.tell(request, {"keys": [key.as_dict(private=False) for key in first.keys.values()]})

    first.answer = hangs
    second.new_key("two", "RSA")
    async with Gatehouse(dsn, auth="jwt", jwt_issuers=issuers) as house:
        await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=FIRST)
        await house.identity("jwt", "mailer", grant(ENQUEUE), issuer=SECOND)
        waiting = asyncio.create_task(answer(house, of_first(first)))
        await asyncio.to_thread(asked.wait, PATIENCE)
        # The keys of an issuer are waited for so long.
        async with asyncio.timeout(issuer_keys.SECONDS / 2):
            assert await answer(house, of_second(second)) == ""
        assert not waiting.done()
        go_on.set()
        assert await waiting == ""
