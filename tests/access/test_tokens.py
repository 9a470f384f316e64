"""A token of the issuer works as a key does; one that is not good is refused, the same over both transports."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import grpc.aio
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

from jobqueue_server.core.access import issuer_keys, keys
from jobqueue_server.core.access.failures import FailedAttempts
from jobqueue_server.core.access.issuer_keys import IssuerKeys, KeysUnusable, read_keys
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.errors import IssuerAway
from jobqueue_server.gate import Gate
from jobqueue_server.grants import Grants, Permission
from jobqueue_server.store.access.access import NewKey
from tests.lease.hand_worker import PATIENCE, StreamEnded, reason_of

from .gatehouse import Gatehouse
from .house import TESTS, grant
from .issuer import AUDIENCE, NAME, Issuer

ENQUEUE, READ, WORK = Permission.ENQUEUE, Permission.READ, Permission.WORK


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad tokens of one address are looked at however many they are."""
    monkeypatch.setattr(FailedAttempts, "refuses", lambda *_: False)


def settings(issuer: Issuer, **more: object) -> dict[str, Any]:
    return {
        "auth": "jwt",
        "jwt_issuer": NAME,
        "jwt_audience": AUDIENCE,
        "jwt_jwks_url": issuer.url,
        "http_addr": "127.0.0.1:0",
        **more,
    }


@pytest.fixture
async def house(dsn: str, issuer: Issuer) -> AsyncIterator[Gatehouse]:
    async with Gatehouse(dsn, **settings(issuer)) as house:
        await house.identity("jwt", "mailer", grant(ENQUEUE | READ | WORK))
        yield house


async def over_grpc(house: Gatehouse, token: str) -> str:
    """The reason of an enqueue over gRPC; empty where it is let in."""
    try:
        await house.caller(authorization=f"Bearer {token}").enqueue()
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


async def answer(house: Gatehouse, token: str) -> str:
    """The same, which over HTTP is the same."""
    reason = await over_grpc(house, token)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{house.app.http_port}/v1/jobs",
            json={"kind": "work", "payload": {}},
            headers={"authorization": f"Bearer {token}"},
        ) as response,
    ):
        body = await response.json()
        over_http = body["details"][0]["reason"] if response.status >= 400 else ""
    assert over_http == reason
    return reason


async def test_a_token_works_as_a_key_does(house: Gatehouse, issuer: Issuer):
    caller = house.caller(authorization=f"Bearer {issuer.token()}")
    job = await caller.enqueue()
    worker = await caller.worker()
    await worker.succeed(await worker.job())
    assert (await caller.wait(job.id)).attempts == 1
    assert await answer(house, issuer.token()) == ""


async def test_a_good_token_passes_while_others_at_its_address_show_bad_ones(
    house: Gatehouse, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    """Whoever repeats one bad token takes little of what the others have; one that was good is not counted at all."""
    monkeypatch.undo()
    good = issuer.token()
    assert await answer(house, good) == ""
    bad = house.caller(authorization=f"Bearer {issuer.token(aud='another')}")
    reasons: set[str] = set()
    while "RATE_LIMITED" not in reasons:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await bad.enqueue()
        reasons.add(reason_of(raised.value))
    assert await answer(house, issuer.token(nonce="new")) == ""
    monkeypatch.setattr(FailedAttempts, "refuses", lambda *_: True)
    assert await answer(house, good) == ""
    await house.identity("jwt", "another", grant(READ))
    assert await answer(house, good) == "", "also when identities have changed"
    assert await answer(house, issuer.token(nonce="newer")) == "RATE_LIMITED"


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"aud": [AUDIENCE, "another"]}, ""),
    ({"aud": ["another"]}, "CREDENTIALS_INVALID"),
    ({"aud": "another"}, "CREDENTIALS_INVALID"),
    ({"aud": AUDIENCE + "s"}, "CREDENTIALS_INVALID"),
    ({"aud": []}, "CREDENTIALS_INVALID"),
    ({"aud": {AUDIENCE: 1}}, "CREDENTIALS_INVALID"),
    ({"aud": None}, "CREDENTIALS_INVALID"),
    ({"iss": "https://other.example.com"}, "CREDENTIALS_INVALID"),
    ({"iss": None}, "CREDENTIALS_INVALID"),
    ({"exp": -1}, "CREDENTIALS_EXPIRED"),
    ({"exp": None}, "CREDENTIALS_INVALID"),
    ({"exp": "soon"}, "CREDENTIALS_INVALID"),
    ({"exp": True}, "CREDENTIALS_INVALID"),
    ({"nbf": 120}, "CREDENTIALS_INVALID"),
    ({"nbf": 10}, ""),
    ({"iat": 120}, "CREDENTIALS_INVALID"),
    ({"sub": "another"}, "CREDENTIALS_INVALID"),
    ({"sub": ""}, "CREDENTIALS_INVALID"),
    ({"sub": 7}, "CREDENTIALS_INVALID"),
    ({"sub": None}, "CREDENTIALS_INVALID"),
]


async def test_each_claim_is_checked(house: Gatehouse, issuer: Issuer):
    now = int(time.time())
    for claims, reason in CLAIMS:
        moved: Any = {
            name: now + value if name in ("exp", "nbf", "iat") and type(value) is int else value
            for name, value in claims.items()
        }
        assert (claims, await answer(house, issuer.token(**moved))) == (claims, reason)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(issuer: Issuer, header: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """The good claims under another header."""
    signed = f"{part(header)}.{issuer.token().split('.')[1]}"
    return f"{signed}.{base64.urlsafe_b64encode(sign(signed.encode())).rstrip(b'=').decode()}"


async def test_a_token_without_a_signature_is_refused(house: Gatehouse, issuer: Issuer):
    for algorithm in ("none", "None", "NONE", "", None, 7, ["ES256"]):
        assert await answer(house, forged(issuer, {"alg": algorithm, "kid": "one"})) == "CREDENTIALS_INVALID"


async def test_a_token_that_is_signed_by_the_public_key_is_refused(house: Gatehouse, issuer: Issuer):
    issuer.new_key("rsa", "RSA")
    rsa: Any = issuer.keys["rsa"]
    public = rsa.as_pem(private=False)
    hs256 = forged(
        issuer, {"alg": "HS256", "kid": "rsa"}, lambda text: hmac.digest(public, text, hashlib.sha256)
    )
    assert await answer(house, hs256) == "CREDENTIALS_INVALID"


HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"typ": "JWT"}, ""),
    ({"typ": "at+jwt"}, ""),
    ({"typ": "application/at+JWT"}, ""),
    ({"typ": "logout+jwt"}, "CREDENTIALS_INVALID"),
    ({"x-unknown": "1"}, ""),
    ({"crit": ["x-unknown"], "x-unknown": "1"}, "CREDENTIALS_INVALID"),
    ({"kid": "another"}, "CREDENTIALS_INVALID"),
    ({"kid": None}, "CREDENTIALS_INVALID"),
    ({"jku": "http://127.0.0.1:1/keys"}, ""),
]


async def test_each_header_is_checked(house: Gatehouse, issuer: Issuer):
    private: Any = issuer.keys["one"].get_op_key("sign")

    def sign(text: bytes) -> bytes:
        first, second = decode_dss_signature(private.sign(text, ec.ECDSA(hashes.SHA256())))
        return first.to_bytes(32) + second.to_bytes(32)

    for header, reason in HEADERS:
        given = {"alg": "ES256", "kid": "one", **header}
        token = forged(issuer, {name: value for name, value in given.items() if value is not None}, sign)
        assert (header, await answer(house, token)) == (header, reason)


async def test_a_key_of_another_issuer_is_not_taken(house: Gatehouse, issuer: Issuer):
    with Issuer() as other:
        assert await answer(house, other.token()) == "CREDENTIALS_INVALID", "the same id, another key"
        other.new_key("theirs")
        assert await answer(house, other.token("theirs")) == "CREDENTIALS_INVALID"


async def test_an_algorithm_that_is_not_listed_is_not_taken(dsn: str, issuer: Issuer):
    issuer.new_key("rsa", "RSA")
    async with Gatehouse(dsn, **settings(issuer, jwt_algorithms="RS256")) as house:
        await house.identity("jwt", "mailer", grant(ENQUEUE))
        assert await answer(house, issuer.token("rsa", "RS256")) == ""
        assert await answer(house, issuer.token("rsa", "PS256")) == "CREDENTIALS_INVALID"
        assert await answer(house, issuer.token()) == "CREDENTIALS_INVALID"


async def test_what_is_no_token_is_refused(house: Gatehouse):
    for text in ("a.b.c", "..", "e30.e30.e30", "eyJ" * 40, "a" * 70, "." * 70):
        assert (text, await answer(house, text)) == (text, "CREDENTIALS_INVALID")


async def test_the_claim_of_the_setting_names_the_caller_and_others_can_be_asked_for(
    dsn: str, issuer: Issuer
):
    async with Gatehouse(dsn, **settings(issuer, jwt_claims="email,sub")) as house:
        await house.identity("jwt", "a@*", grant(ENQUEUE))
        await house.identity("jwt", "operators", grant(ENQUEUE), claim="groups")
        assert await answer(house, issuer.token(email="a@example.com")) == ""
        assert await answer(house, issuer.token(email="b@example.com")) == "CREDENTIALS_INVALID"
        assert await answer(house, issuer.token()) == "CREDENTIALS_INVALID"
        assert await answer(house, issuer.token(groups=["readers", "operators"])) == ""
        assert await answer(house, issuer.token(groups="operators")) == ""
        assert await answer(house, issuer.token(groups=[["operators"], 7])) == "CREDENTIALS_INVALID"


async def test_an_identity_of_another_issuer_is_for_none_of_its_tokens(house: Gatehouse, issuer: Issuer):
    await house.identity("jwt", "reader", grant(ENQUEUE), issuer="https://other.example.com")
    assert await answer(house, issuer.token(sub="reader")) == "CREDENTIALS_INVALID"
    await house.identity("jwt", "reader", grant(ENQUEUE), issuer=NAME)
    assert await answer(house, issuer.token(sub="reader")) == ""


async def test_keys_and_tokens_are_taken_beside_each_other(dsn: str, issuer: Issuer):
    async with Gatehouse(dsn, **settings(issuer, auth="keys,jwt")) as house:
        await house.identity("jwt", "mailer", grant(ENQUEUE))
        key = keys.mint()
        new = NewKey(key.id, "key", key.secret_hash, Grants([grant(ENQUEUE)]), "tests")
        await house.app.stores.access.insert_key(TESTS, 1, new)
        await house.known()
        assert await answer(house, issuer.token()) == ""
        assert await answer(house, key.text) == ""
        assert await answer(house, key.text[:-1]) == "CREDENTIALS_INVALID"


async def test_a_good_token_is_checked_once_and_takes_the_fast_path(
    house: Gatehouse, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    token = issuer.token()
    assert await answer(house, token) == ""

    async def decide(*_: object) -> None:
        raise AssertionError("there was a verdict")

    monkeypatch.setattr(Gate, "decide", decide)
    assert await answer(house, token) == ""


@pytest.mark.slow
async def test_a_remembered_token_ends_at_its_end(house: Gatehouse, issuer: Issuer):
    ends = int(time.time()) + 2
    caller = house.caller(authorization=f"Bearer {issuer.token(exp=ends)}")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async with asyncio.timeout(PATIENCE):
            while True:
                began = time.time()
                await caller.enqueue()
                # The server has the time of its loop, which may be late by a turn.
                assert began < ends + 0.1
    assert reason_of(raised.value) == "CREDENTIALS_EXPIRED"
    assert ends <= time.time()


@pytest.mark.slow
async def test_a_call_that_waits_ends_with_its_token(house: Gatehouse, issuer: Issuer):
    caller = house.caller(authorization=f"Bearer {issuer.token(exp=int(time.time()) + 8)}")
    job = await caller.enqueue()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await caller.wait(job.id)
    assert reason_of(raised.value) == "CREDENTIALS_EXPIRED"


@pytest.mark.slow
async def test_a_worker_whose_token_ends_comes_back_with_a_new_one_and_loses_nothing(
    house: Gatehouse, issuer: Issuer
):
    new = house.caller(authorization=f"Bearer {issuer.token()}")
    job = await new.enqueue()
    old = house.caller(authorization=f"Bearer {issuer.token(exp=int(time.time()) + 8)}")
    worker = await old.worker()
    leased = await worker.job()
    assert (await worker.next("go_away")).reason == "CREDENTIALS_EXPIRED"
    again = await new.worker(resume=worker.resume(held=[leased]))
    await again.succeed(leased)
    seen = await new.wait(job.id)
    assert (seen.attempts, seen.losses) == (1, 0)


@pytest.mark.slow
async def test_a_worker_that_shows_no_new_token_ends(dsn: str, issuer: Issuer):
    async with Gatehouse(dsn, tuning=Tuning(renew_within=1.0), **settings(issuer)) as house:
        await house.identity("jwt", "mailer", grant(WORK))
        worker = await house.caller(authorization=f"Bearer {issuer.token(exp=int(time.time()) + 8)}").worker()
        await worker.next("go_away")
        with pytest.raises(StreamEnded) as ended:
            await worker.next("settled")
        assert ended.value.reason == "CREDENTIALS_EXPIRED"


@pytest.mark.slow
async def test_a_worker_whose_identity_goes_ends_at_once(house: Gatehouse, issuer: Issuer):
    mine = await house.identity("jwt", "runner", grant(WORK))
    worker = await house.caller(authorization=f"Bearer {issuer.token(sub='runner')}").worker()
    await house.delete(mine)
    with pytest.raises(StreamEnded) as ended:
        await worker.next("settled")
    assert ended.value.reason == "CREDENTIALS_REVOKED"
    assert await answer(house, issuer.token(sub="runner")) == "CREDENTIALS_INVALID"


async def test_a_server_starts_while_the_issuer_is_away(
    dsn: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(issuer_keys, "AGAIN_AFTER", 0.05)
    issuer.answer = lambda request: issuer.tell(request, {}, 503)
    async with Gatehouse(dsn, **settings(issuer)) as house:
        await house.identity("jwt", "mailer", grant(ENQUEUE))
        assert await answer(house, issuer.token()) == "ISSUER_AWAY"
        issuer.answer = None
        async with asyncio.timeout(PATIENCE):
            # It may come between a call over gRPC and one over HTTP.
            while await over_grpc(house, issuer.token()) == "ISSUER_AWAY":
                await asyncio.sleep(0.05)
        assert await answer(house, issuer.token()) == ""


# ---- the keys of the issuer


class Hands:
    """A clock that a test moves, and keys that it changes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.read = 0
        self.away = False
        self.keys: dict[str, Any] = {"one": ECKey.generate_key("P-256")}
        self.of = IssuerKeys("https://id.example.com/keys", self._read, lambda: self.now)

    def _read(self, url: str) -> dict[str, Any]:
        self.read += 1
        if self.away:
            raise KeysUnusable("away")
        return dict(self.keys)


async def test_a_new_key_is_known_with_its_first_token_and_an_unknown_one_asks_every_30_s_at_most():
    hands = Hands()
    assert await hands.of.get("one") is hands.keys["one"]
    hands.keys["two"] = ECKey.generate_key("P-256")
    assert await hands.of.get("two") is None, "it was asked for just now"
    hands.now = 30.0
    assert await hands.of.get("two") is hands.keys["two"]
    assert [await hands.of.get(f"unknown {n}") for n in range(10)] == [None] * 10
    assert hands.read == 2


async def test_keys_that_the_issuer_has_taken_back_are_not_taken():
    hands = Hands()
    await hands.of.get("one")
    hands.keys = {"two": ECKey.generate_key("P-256")}
    hands.now = 30.0
    await hands.of.get("two")
    assert await hands.of.get("one") is None


async def test_keys_serve_for_a_day_while_the_issuer_is_away():
    hands = Hands()
    await hands.of.get("one")
    hands.away = True
    hands.now = issuer_keys.KEPT
    assert await hands.of.get("one") is hands.keys["one"]
    assert await hands.of.get("two") is None
    hands.now += 1
    with pytest.raises(IssuerAway):
        await hands.of.get("one")


def unusable(issuer: Issuer, answer: Callable[[Any], None]) -> str:
    issuer.answer = answer
    with pytest.raises(KeysUnusable) as raised:
        read_keys(issuer.url)
    return str(raised.value)


def endless(request: Any) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(1 << 30))
    request.end_headers()
    try:
        for _ in range(1 << 14):
            request.wfile.write(b" " * (64 << 10))
    except OSError:
        pass


def dripping(request: Any) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        pass


def test_a_set_of_a_gigabyte_is_not_read(issuer: Issuer):
    started = time.monotonic()
    assert "more than 262144 bytes" in unusable(issuer, endless)
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_an_issuer_that_answers_for_ever_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(issuer_keys, "SECONDS", 2.0)
    assert "within 2 s" in unusable(issuer, dripping)


def test_a_redirect_is_not_followed(issuer: Issuer):
    with Issuer() as other:
        assert "answers 302" in unusable(
            issuer, lambda request: issuer.tell(request, {}, 302, Location=other.url)
        )
        assert other.asked == 0


#: The generator of P-256.
POINT = {
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}


def test_a_key_that_is_named_is_taken(issuer: Issuer):
    issuer.answer = lambda request: issuer.tell(
        request, {"keys": [{"kty": "EC", "crv": "P-256", **POINT, "kid": "one"}]}
    )
    assert list(read_keys(issuer.url)) == ["one"]


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": ["one"]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]},
        {"keys": [{"kty": "EC", "crv": "P-256", **POINT}]},
        {"keys": [{"kty": "EC", "crv": "P-256", **POINT, "kid": "one", "use": "enc"}]},
        {"keys": [{"kty": "RSA", "kid": "one", "e": "AQAB", "n": "w" + "A" * 170 + "E"}]},
        {"keys": [{"kty": "EC", "kid": "one", "crv": "P-256", "x": "AA", "y": "AA"}]},
        {"keys": [{"kid": "one"}] * 65},
    ],
    ids=lambda said: json.dumps(said)[:70],
)
def test_what_is_no_set_of_public_keys_is_refused(issuer: Issuer, said: object):
    unusable(issuer, lambda request: issuer.tell(request, said))


def test_keys_that_are_not_known_are_passed_over(issuer: Issuer):
    issuer.answer = lambda request: issuer.tell(
        request,
        {
            "keys": [
                {"kty": "new", "kid": "new"},
                7,
                *(key.as_dict(private=False) for key in issuer.keys.values()),
            ]
        },
    )
    assert list(read_keys(issuer.url)) == ["one"]


def test_an_issuer_that_is_not_there_is_told(issuer: Issuer):
    with pytest.raises(KeysUnusable, match="does not answer"):
        read_keys("http://127.0.0.1:1/keys")
