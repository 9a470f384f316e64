"""Administrators make, list, rotate and revoke keys, and make, disable and enable namespaces, over gRPC and REST."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1 import access_pb2, queue_admin_pb2
from jobqueue_server.core.access import keys
from jobqueue_server.grants import Permission
from jobqueue_server.store.access.access import Limit
from tests.http.conftest import Caller as RestCaller
from tests.http.conftest import Reply
from tests.lease.hand_worker import reason_of, span, violations_of
from tests.lease.place import Caller, Place, eventually

from .house import House, grant

ENQUEUE, READ, WORK, ADMIN, PAYLOADS = (
    Permission.ENQUEUE,
    Permission.READ,
    Permission.WORK,
    Permission.ADMIN,
    Permission.PAYLOADS,
)
_ACCESS = access_pb2.Access
MAILER = pb.Grant(permissions=[_ACCESS.ENQUEUE], queues=["mail*"])


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


@pytest.fixture
async def rest(house: House) -> AsyncIterator[RestCaller]:
    caller = RestCaller(house.app.http_port)
    yield caller
    await caller.session.close()


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def refused_for(call: Any) -> str:
    return reason_of(await refused(call))


def violated(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields that an error names."""
    return list(violations_of(error))


def violations(reply: Reply) -> list[dict[str, str]]:
    """The fields that an error of REST names, and what would be right."""
    return [each for detail in reply.json["details"] for each in detail.get("field_violations", ())]


async def made(caller: Caller, *grants: pb.Grant, name: str = "mailer", **more: Any) -> pb.CreateKeyResponse:
    """A key that the caller makes."""
    answer: pb.CreateKeyResponse = await caller.access.CreateKey(
        pb.CreateKeyRequest(name=name, grants=grants or [MAILER], **more)
    )
    return answer


async def namespace(house: House, name: str) -> pb.Namespace:
    answer = await house.access.CreateNamespace(pb.CreateNamespaceRequest(name=name))
    found: pb.Namespace = answer.namespace
    return found


# ---- keys


async def test_a_key_that_was_made_is_good_at_once_for_what_it_was_granted(house: House) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    answer = await made(house, expires_in=span(90 * 86400), networks=["127.0.0.1", "2001:db8::/32"])
    key = answer.key
    assert keys.id_of(answer.secret) == key.id
    assert (key.name, key.namespace, key.principal) == ("mailer", "default", f"key:{key.id}")
    assert [MessageToDict(each) for each in key.grants] == [
        {"permissions": ["ENQUEUE"], "queues": ["mail*"], "kinds": ["*"]}
    ]
    assert list(key.networks) == ["127.0.0.1/32", "2001:db8::/32"]
    assert key.created_at.ToDatetime(UTC) > before
    assert key.expires_at.ToDatetime(UTC) - key.created_at.ToDatetime(UTC) == timedelta(days=90)
    assert not key.HasField("revoked_at")
    assert not key.HasField("last_used_at")
    own = await house.access.GetAccess(pb.GetAccessRequest())
    assert key.created_by == own.principal
    mailer = house.with_key(answer.secret)
    await mailer.enqueue(queue="mail-eu")
    assert await refused_for(mailer.enqueue(queue="news")) == "NOT_ALLOWED"


async def test_a_key_that_was_just_used_says_so(house: House) -> None:
    answer = await made(house)

    async def key_of(key_id: str) -> pb.Key:
        return (await house.access.GetKey(pb.GetKeyRequest(id=key_id))).key

    assert not (await key_of(answer.key.id)).HasField("last_used_at")
    before = await house.value("select now()")
    await house.with_key(answer.secret).access.GetAccess(pb.GetAccessRequest())
    # On this server at once: what lists keys writes down first who was here. Others hear of it within a second.
    used = (await key_of(answer.key.id)).last_used_at.ToDatetime(UTC)
    assert before <= used <= await house.value("select now()")
    own = await house.access.GetAccess(pb.GetAccessRequest())
    listed = (await house.access.ListKeys(pb.ListKeysRequest())).keys
    assert {each.principal for each in listed if each.HasField("last_used_at")} >= {own.principal}


async def test_of_a_key_the_database_has_the_hash_alone(house: House) -> None:
    secret = (await made(house)).secret
    rows = await house.sql("select api_key::text as row from api_key")
    assert not any(secret in row["row"] or secret[14:] in row["row"] for row in rows)
    assert await house.value("select count(*) from api_key where secret_hash = $1", keys.hash_of(secret)), (
        "SHA-256 of the whole text"
    )


async def test_a_caller_sees_who_it_is_and_what_it_may_do(house: House) -> None:
    answer = await made(house, expires_in=span(3600))
    shown = await house.with_key(answer.secret).access.GetAccess(pb.GetAccessRequest())
    assert (shown.principal, shown.credential, shown.namespace) == (
        f"key:{answer.key.id}",
        f"key:{answer.key.id}",
        "default",
    )
    assert list(shown.grants) == list(answer.key.grants)
    assert shown.expires_at == answer.key.expires_at
    assert (
        await refused_for(house.showing("").access.GetAccess(pb.GetAccessRequest())) == "CREDENTIALS_MISSING"
    )


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("wanted", "permission"),
    [
        (pb.Grant(permissions=[_ACCESS.ENQUEUE], queues=["news"]), "ENQUEUE"),
        (pb.Grant(permissions=[_ACCESS.ENQUEUE], queues=["*"]), "ENQUEUE"),
        (pb.Grant(permissions=[_ACCESS.ENQUEUE], queues=["mail", "news"]), "ENQUEUE"),
        (pb.Grant(permissions=[_ACCESS.ENQUEUE, _ACCESS.WORK], queues=["mail"]), "WORK"),
        (pb.Grant(permissions=[_ACCESS.READ], queues=["mail"], payloads=True), "READ with `payloads`"),
        (pb.Grant(permissions=[_ACCESS.OPERATE]), "OPERATE"),
    ],
)
async def test_a_key_is_never_wider_than_its_maker(house: House, wanted: pb.Grant, permission: str) -> None:
    maker = await house.caller(grant(ADMIN), grant(ENQUEUE | READ, "mail*"))
    error = await refused(made(maker, wanted))
    assert reason_of(error) == "NOT_ALLOWED"
    assert permission in str(error.details())
    assert await house.value("select count(*) from api_key") == 2
    await made(maker, pb.Grant(permissions=[_ACCESS.ENQUEUE, _ACCESS.READ], queues=["mail-eu", "mail-*"]))


RATE = Limit(50, 100)


async def narrowed(house: House, **limits: Any) -> Caller:
    """An administrator whose key has an expiry, networks or a rate."""
    return house.with_key((await house.key(grant(ADMIN | ENQUEUE), **limits)).text)


@pytest.mark.parametrize(
    ("limits", "field", "wider", "within"),
    [
        ({"lifetime": timedelta(hours=1)}, "expires_in", {}, {"expires_in": span(1800)}),
        (
            {"lifetime": timedelta(hours=1)},
            "expires_in",
            {"expires_in": span(3605)},
            {"expires_in": span(3500)},
        ),
        ({"networks": ("127.0.0.0/8",)}, "networks", {}, {"networks": ["127.0.0.1", "127.8.0.0/16"]}),
        (
            {"networks": ("127.0.0.0/9", "127.128.0.0/9")},
            "networks[1]",
            {"networks": ["127.0.0.1", "10.0.0.0/8"]},
            {"networks": ["127.0.0.0/8"]},
        ),
        (
            {"networks": ("127.0.0.0/8",)},
            "networks[0]",
            {"networks": ["::/0"]},
            {"networks": ["127.0.0.0/8"]},
        ),
        ({"limit": RATE}, "rate_limit", {}, {"rate_limit": pb.RateLimit(per_second=50, burst=100)}),
        (
            {"limit": RATE},
            "rate_limit.per_second",
            {"rate_limit": pb.RateLimit(per_second=51, burst=1)},
            {"rate_limit": pb.RateLimit(per_second=1)},
        ),
        (
            {"limit": RATE},
            "rate_limit.burst",
            {"rate_limit": pb.RateLimit(per_second=50, burst=101)},
            {"rate_limit": pb.RateLimit(per_second=50)},
        ),
    ],
)
async def test_a_key_that_is_narrowed_makes_none_that_is_not(
    house: House, limits: Any, field: str, wider: Any, within: Any
) -> None:
    """Neither longer-lived, nor good from elsewhere, nor faster than the key that makes it."""
    maker = await narrowed(house, **limits)
    error = await refused(made(maker, **wider))
    assert reason_of(error) == "NOT_ALLOWED"
    assert violated(error) == [field]
    assert await house.value("select count(*) from api_key") == 2
    key = (await made(maker, **within)).key
    if "lifetime" in limits:
        own = await maker.access.GetAccess(pb.GetAccessRequest())
        assert key.expires_at.ToDatetime() <= own.expires_at.ToDatetime()


async def test_the_refusal_says_what_would_be_right_over_rest_too(house: House, rest: RestCaller) -> None:
    await namespace(house, "beta")
    maker = await house.key(
        grant(ADMIN | ENQUEUE), lifetime=timedelta(hours=1), networks=("127.0.0.0/8",), limit=RATE
    )
    body = {"name": "first", "grants": [{"permissions": ["ADMIN"]}], "namespace": "beta"}
    answer = await rest("POST", "/v1/keys", body, authorization=f"Bearer {maker.text}")
    assert answer.status == 403
    said = {each["field"]: each["description"] for each in violations(answer)}
    assert said.keys() == {"expires_in", "networks", "rate_limit"}
    ends = await house.value("select expires_at from api_key where id = $1", maker.id)
    assert f"{ends:%Y-%m-%dT%H:%M:%SZ}" in said["expires_in"]
    assert "127.0.0.0/8" in said["networks"]
    assert "50 a second" in said["rate_limit"]
    assert "100" in said["rate_limit"]
    right = {
        **body,
        "expires_in": "60s",
        "networks": ["127.0.0.1"],
        "rate_limit": {"per_second": 50, "burst": 100},
    }
    assert (await rest("POST", "/v1/keys", right, authorization=f"Bearer {maker.text}")).status == 200


async def test_a_key_that_is_narrowed_rotates_into_none_that_is_wider(house: House) -> None:
    """Also not itself: its successor ends when it does, at the latest."""
    mine = await house.key(
        grant(ADMIN | ENQUEUE), lifetime=timedelta(hours=1), networks=("127.0.0.0/8",), limit=RATE
    )
    maker = house.with_key(mine.text)
    wide = await house.key(grant(ENQUEUE))
    error = await refused(maker.access.RotateKey(pb.RotateKeyRequest(id=wide.id, expires_in=span(60))))
    assert reason_of(error) == "NOT_ALLOWED"
    assert f"the key {wide.id}" in str(error.details())
    assert await refused_for(maker.access.RotateKey(pb.RotateKeyRequest(id=mine.id))) == "NOT_ALLOWED"
    longer = pb.RotateKeyRequest(id=mine.id, expires_in=span(7200))
    assert await refused_for(maker.access.RotateKey(longer)) == "NOT_ALLOWED"
    assert await house.value("select count(*) from api_key where succeeds is not null") == 0
    own = await maker.access.GetAccess(pb.GetAccessRequest())
    new = (await maker.access.RotateKey(pb.RotateKeyRequest(id=mine.id, expires_in=span(3000)))).key
    assert new.expires_at.ToDatetime() <= own.expires_at.ToDatetime()
    assert (list(new.networks), new.rate_limit.per_second) == (["127.0.0.0/8"], 50)


async def test_a_key_that_ends_or_has_networks_makes_no_identity(house: House) -> None:
    """An identity has neither an end nor networks, so it would be wider."""
    for limits in ({"lifetime": timedelta(hours=1)}, {"networks": ("127.0.0.0/8",)}):
        maker = await narrowed(house, **limits)
        put = maker.access.PutIdentity(pb.PutIdentityRequest(kind="mtls", pattern="a*", grants=[MAILER]))
        assert await refused_for(put) == "NOT_ALLOWED"
    maker = await narrowed(house, limit=RATE)
    request = pb.PutIdentityRequest(kind="mtls", pattern="a*", grants=[MAILER])
    error = await refused(maker.access.PutIdentity(request))
    assert (reason_of(error), violated(error)) == ("NOT_ALLOWED", ["rate_limit"])
    assert not await house.value("select count(*) from identity")
    request.rate_limit.per_second = 50
    await maker.access.PutIdentity(request)


async def test_a_maker_of_narrow_grants_rotates_no_wider_key(house: House) -> None:
    wide = await made(house, pb.Grant(permissions=[_ACCESS.OPERATE]))
    maker = await house.caller(grant(ADMIN))
    assert await refused_for(maker.access.RotateKey(pb.RotateKeyRequest(id=wide.key.id))) == "NOT_ALLOWED"
    assert (await maker.access.RevokeKey(pb.RevokeKeyRequest(id=wide.key.id))).key.HasField("revoked_at")


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    "method", [method.name for method in pb.DESCRIPTOR.services_by_name["AccessAdmin"].methods]
)
async def test_administration_takes_admin(house: House, method: str) -> None:
    caller = await house.caller(grant(ENQUEUE | READ | WORK | Permission.OPERATE | PAYLOADS))
    call = getattr(caller.access, method)(getattr(pb, f"{method}Request")())
    if method == "GetAccess":
        await call
    else:
        error = await refused(call)
        assert reason_of(error) == "NOT_ALLOWED"
        assert "ADMIN" in str(error.details())


async def test_keys_are_listed_by_name_in_pages_without_their_secrets(house: House) -> None:
    names = ["b", "a", "c", "b", "\u017elu\u0165"]
    answers = [await made(house, name=name) for name in names]
    seen: list[Any] = []
    request = pb.ListKeysRequest(page_size=2)
    while True:
        page = await house.access.ListKeys(request)
        assert len(page.keys) <= 2
        seen += page.keys
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert sorted(names) == [key.name for key in seen if key.name != "key"]
    assert {key.id for key in seen} > {answer.key.id for answer in answers}
    assert not any(answer.secret in str(seen) for answer in answers)
    assert (
        await refused_for(house.access.ListKeys(pb.ListKeysRequest(page_token="AAAA")))
        == "PAGE_TOKEN_INVALID"
    )
    await namespace(house, "beta")
    elsewhere = pb.ListKeysRequest(page_size=2, page_token=request.page_token, namespace="beta")
    assert await refused_for(house.access.ListKeys(elsewhere)) == "PAGE_TOKEN_INVALID"


@pytest.mark.slow
async def test_a_rotated_key_is_good_until_its_grace_ends(house: House) -> None:
    old = await made(house, networks=["127.0.0.0/8"])
    new = await house.access.RotateKey(pb.RotateKeyRequest(id=old.key.id, grace=span(4)))
    assert new.key.principal == old.key.principal
    assert (new.key.succeeds, new.key.name) == (old.key.id, "mailer")
    assert list(new.key.grants) == list(old.key.grants)
    assert list(new.key.networks) == list(old.key.networks)
    assert new.secret != old.secret
    await house.with_key(old.secret).enqueue(queue="mail")

    async def ended() -> bool:
        try:
            await house.with_key(old.secret).enqueue(queue="mail")
        except grpc.aio.AioRpcError as error:
            return reason_of(error) == "CREDENTIALS_EXPIRED"
        return False

    await eventually(ended)
    await house.with_key(new.secret).enqueue(queue="mail")
    shown = (await house.access.GetKey(pb.GetKeyRequest(id=old.key.id))).key
    assert shown.expires_at.ToDatetime() - new.key.created_at.ToDatetime() == timedelta(seconds=4)


async def test_a_grace_that_is_not_said_is_a_day(house: House) -> None:
    old = (await made(house)).key
    new = (await house.access.RotateKey(pb.RotateKeyRequest(id=old.id))).key
    shown = (await house.access.GetKey(pb.GetKeyRequest(id=old.id))).key
    assert shown.expires_at.ToDatetime() - new.created_at.ToDatetime() == timedelta(days=1)


async def test_a_revoked_key_is_refused_at_once_and_can_not_be_rotated(house: House) -> None:
    answer = await made(house)
    revoked = (await house.access.RevokeKey(pb.RevokeKeyRequest(id=answer.key.id, reason="leaked"))).key
    assert revoked.revoke_reason == "leaked"
    assert revoked.revoked_by == (await house.access.GetAccess(pb.GetAccessRequest())).principal
    assert await refused_for(house.with_key(answer.secret).enqueue(queue="mail")) == "CREDENTIALS_REVOKED"
    again = (await house.access.RevokeKey(pb.RevokeKeyRequest(id=answer.key.id, reason="other"))).key
    assert again == revoked, "the first revocation stands"
    assert await refused_for(house.access.RotateKey(pb.RotateKeyRequest(id=answer.key.id))) == "KEY_REVOKED"


async def test_a_key_that_is_not_there_is_not_found(house: House) -> None:
    for call in (
        house.access.GetKey(pb.GetKeyRequest(id="0123456789")),
        house.access.RotateKey(pb.RotateKeyRequest(id="0123456789")),
        house.access.RevokeKey(pb.RevokeKeyRequest(id="0123456789")),
    ):
        assert await refused_for(call) == "KEY_NOT_FOUND"


# ---- namespaces


async def test_a_namespace_has_the_built_in_kinds_and_keys_of_its_own(house: House) -> None:
    assert (await namespace(house, "beta")).name == "beta"
    answer = await made(
        house, pb.Grant(permissions=[_ACCESS.ADMIN]), pb.Grant(permissions=[_ACCESS.READ]), namespace="beta"
    )
    assert answer.key.namespace == "beta"
    beta = house.with_key(answer.secret)
    ours = await house.admin.ListKinds(queue_admin_pb2.ListKindsRequest())
    theirs = await beta.admin.ListKinds(queue_admin_pb2.ListKindsRequest())
    assert [kind.name for kind in theirs.kinds] == [kind.name for kind in ours.kinds] != []
    listed = await beta.access.ListKeys(pb.ListKeysRequest())
    assert [key.id for key in listed.keys] == [answer.key.id]
    by_default = await house.access.ListKeys(pb.ListKeysRequest(namespace="beta"))
    assert by_default == listed
    assert (await beta.access.GetAccess(pb.GetAccessRequest())).namespace == "beta"
    await made(beta, pb.Grant(permissions=[_ACCESS.READ]), namespace="beta")


async def test_administrators_of_another_namespace_manage_their_own_alone(house: House) -> None:
    await namespace(house, "beta")
    ours = (await made(house)).key
    answer = await made(house, pb.Grant(permissions=[_ACCESS.ADMIN]), namespace="beta")
    beta = house.with_key(answer.secret)
    for elsewhere in ("default", "gamma"):
        for call in (
            beta.access.ListKeys(pb.ListKeysRequest(namespace=elsewhere)),
            beta.access.GetKey(pb.GetKeyRequest(id=ours.id, namespace=elsewhere)),
            beta.access.RevokeKey(pb.RevokeKeyRequest(id=ours.id, namespace=elsewhere)),
            beta.access.RotateKey(pb.RotateKeyRequest(id=ours.id, namespace=elsewhere)),
            made(beta, pb.Grant(permissions=[_ACCESS.ADMIN]), namespace=elsewhere),
            beta.access.CreateNamespace(pb.CreateNamespaceRequest(name=elsewhere)),
            beta.access.DisableNamespace(pb.DisableNamespaceRequest(name=elsewhere)),
            beta.access.EnableNamespace(pb.EnableNamespaceRequest(name=elsewhere)),
        ):
            assert await refused_for(call) == "NOT_ALLOWED"
    assert await refused_for(beta.access.GetKey(pb.GetKeyRequest(id=ours.id))) == "KEY_NOT_FOUND"
    assert await refused_for(beta.access.RevokeKey(pb.RevokeKeyRequest(id=ours.id))) == "KEY_NOT_FOUND"
    listed = await beta.access.ListNamespaces(pb.ListNamespacesRequest())
    assert [each.name for each in listed.namespaces] == ["beta"]


async def test_a_disabled_namespace_refuses_its_callers_until_it_is_enabled(house: House) -> None:
    await namespace(house, "beta")
    answer = await made(
        house, pb.Grant(permissions=[_ACCESS.WORK, _ACCESS.ENQUEUE]), name="both", namespace="beta"
    )
    beta = house.with_key(answer.secret)
    job = await beta.enqueue()
    worker = await beta.worker()
    assert (await worker.job()).id == job.id
    disabled = await house.access.DisableNamespace(pb.DisableNamespaceRequest(name="beta"))
    assert disabled.namespace.HasField("disabled_at")
    assert (await worker.end()).reason == "NAMESPACE_DISABLED"
    assert await refused_for(beta.enqueue()) == "NAMESPACE_DISABLED"
    again = await house.access.DisableNamespace(pb.DisableNamespaceRequest(name="beta"))
    assert again == disabled
    enabled = await house.access.EnableNamespace(pb.EnableNamespaceRequest(name="beta"))
    assert not enabled.namespace.HasField("disabled_at")
    worker = await beta.worker()
    assert (await worker.job()).id == job.id, "its jobs stay"


async def test_the_namespace_default_can_not_be_disabled(house: House) -> None:
    error = await refused(house.access.DisableNamespace(pb.DisableNamespaceRequest(name="default")))
    assert reason_of(error) == "FIELD_INVALID"
    await house.enqueue()


async def test_namespaces_are_listed_by_name_in_pages(house: House) -> None:
    for name in ("zeta", "beta", "alpha"):
        await namespace(house, name)
    await namespace(house, "beta")
    seen, token = [], ""
    while True:
        page = await house.access.ListNamespaces(pb.ListNamespacesRequest(page_size=2, page_token=token))
        seen += [each.name for each in page.namespaces]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["alpha", "beta", "default", "zeta"]


async def test_a_namespace_that_is_not_there_is_not_found(house: House) -> None:
    for call in (
        house.access.ListKeys(pb.ListKeysRequest(namespace="beta")),
        made(house, namespace="beta"),
        house.access.DisableNamespace(pb.DisableNamespaceRequest(name="beta")),
        house.access.EnableNamespace(pb.EnableNamespaceRequest(name="beta")),
    ):
        assert await refused_for(call) == "NAMESPACE_NOT_FOUND"


async def test_new_built_in_kinds_come_to_all_namespaces(dsn: str) -> None:
    async with House(dsn) as house:
        await namespace(house, "beta")
        await house.sql("delete from kind")
    async with House(dsn) as house:
        counted = await house.sql("select count(*) as kinds from kind group by namespace_id")
        assert len(counted) == 2
        assert len({row["kinds"] for row in counted}) == 1


# ---- other servers, other settings


@pytest.mark.slow
async def test_another_server_knows_of_a_change_by_a_notice(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue_server.core.access.access._EVERY", 30.0)
    async with House(dsn) as one, House(dsn) as other:
        both = one.app.events.server, other.app.events.server
        await eventually(lambda: _truth(all(server.others == 1 for server in both)))
        await eventually(lambda: _truth(one.app.events.peers.listen))
        answer = await made(one, pb.Grant(permissions=[_ACCESS.WORK]))
        caller = other.with_key(answer.secret)

        async def known() -> bool:
            try:
                await caller.access.GetAccess(pb.GetAccessRequest())
            except grpc.aio.AioRpcError:
                return False
            return True

        # By itself it would look after 30 s.
        await eventually(known, timeout=15)
        worker = await caller.worker()
        since = time.monotonic()
        await one.access.RevokeKey(pb.RevokeKeyRequest(id=answer.key.id))
        # The server that revoked ends the session too: which of both is heard first is open.
        assert (await worker.end()).reason in ("CREDENTIALS_REVOKED", "SESSION_ENDED")
        assert time.monotonic() - since < 10
        assert await refused_for(caller.access.GetAccess(pb.GetAccessRequest())) == "CREDENTIALS_REVOKED"


async def _truth(value: bool) -> bool:
    return value


async def test_keys_can_be_made_before_they_are_asked_for(dsn: str) -> None:
    async with Place(dsn) as open_place:
        shown = await open_place.access.GetAccess(pb.GetAccessRequest())
        assert (shown.principal, shown.credential, shown.namespace) == ("anonymous", "", "default")
        assert [MessageToDict(each) for each in shown.grants] == [
            {
                "permissions": ["ENQUEUE", "READ", "WORK", "OPERATE", "ADMIN"],
                "queues": ["*"],
                "kinds": ["*"],
                "payloads": True,
            }
        ]
        answer = await made(open_place)
        assert answer.key.created_by == "anonymous"
        assert len((await open_place.access.ListKeys(pb.ListKeysRequest(namespace="default"))).keys) == 1
    async with House(dsn) as house:
        await house.with_key(answer.secret).enqueue(queue="mail")


# ---- REST


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def test_rest_makes_shows_lists_rotates_and_revokes_keys(house: House, rest: RestCaller) -> None:
    admin = bearer((await house.key(grant(Permission(63)))).text)
    made = await rest(
        "POST",
        "/v1/keys",
        {
            "name": "mailer",
            "grants": [{"permissions": ["ENQUEUE"], "queues": ["mail"]}],
            "expires_in": "3600s",
        },
        **admin,
    )
    assert made.status == 200
    assert made.headers["Cache-Control"] == "no-store"
    key_id, secret = made.json["key"]["id"], made.json["secret"]
    assert keys.id_of(secret) == key_id
    shown = await rest("GET", f"/v1/keys/{key_id}", **admin)
    assert shown.json["grants"] == [
        {"permissions": ["ENQUEUE"], "queues": ["mail"], "kinds": ["*"], "payloads": False}
    ]
    assert secret not in shown.text
    rotated = await rest("POST", f"/v1/keys/{key_id}:rotate", {"grace": "0s"}, **admin)
    assert rotated.headers["Cache-Control"] == "no-store"
    assert rotated.json["key"]["succeeds"] == key_id
    assert (await rest("GET", "/v1/access", **bearer(secret))).reason == "CREDENTIALS_EXPIRED"
    who = await rest("GET", "/v1/access", **bearer(rotated.json["secret"]))
    assert who.json["principal"] == f"key:{key_id}"
    revoked = await rest("POST", f"/v1/keys/{key_id}:revoke", {"reason": "leaked"}, **admin)
    assert revoked.json["revoke_reason"] == "leaked"
    listed = await rest("GET", "/v1/keys?page_size=1000", **admin)
    assert {key_id, rotated.json["key"]["id"]} < {key["id"] for key in listed.json["keys"]}


async def test_rest_makes_lists_disables_and_enables_namespaces(house: House, rest: RestCaller) -> None:
    admin = bearer((await house.key(grant(Permission(63)))).text)
    assert (await rest("POST", "/v1/namespaces", {"name": "beta"}, **admin)).json["name"] == "beta"
    disabled = await rest("POST", "/v1/namespaces/beta:disable", {}, **admin)
    assert disabled.json["disabled_at"]
    enabled = await rest("POST", "/v1/namespaces/beta:enable", {}, **admin)
    assert not enabled.json.get("disabled_at")
    listed = await rest("GET", "/v1/namespaces", **admin)
    assert [each["name"] for each in listed.json["namespaces"]] == ["beta", "default"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/access", "/v1/keys"])
async def test_rest_answers_401_with_a_challenge_and_403_with_what_is_missing(
    house: House, rest: RestCaller, path: str
) -> None:
    nobody = await rest("GET", path)
    assert (nobody.status, nobody.reason) == (401, "CREDENTIALS_MISSING")
    assert nobody.headers["WWW-Authenticate"] == "Bearer"
    wrong = await rest("GET", path, **bearer("nonsense"))
    assert (wrong.status, wrong.reason) == (401, "CREDENTIALS_INVALID")
    assert wrong.headers["WWW-Authenticate"] == "Bearer"
    if path != "/v1/access":
        mailer = await rest("GET", path, **bearer((await house.key(grant(ENQUEUE))).text))
        assert (mailer.status, mailer.reason) == (403, "NOT_ALLOWED")
        missing = {"/v1/jobs": "READ", "/v1/keys": "ADMIN"}[path]
        assert mailer.detail("ErrorInfo")["metadata"]["permission"] == missing
        assert "WWW-Authenticate" not in mailer.headers


async def test_an_enqueue_by_the_fast_path_of_rest_answers_401_too(house: House, rest: RestCaller) -> None:
    job = {"kind": "work", "payload": 1}
    assert (await rest("POST", "/v1/jobs", job)).headers["WWW-Authenticate"] == "Bearer"
    mailer = bearer((await house.key(grant(ENQUEUE))).text)
    assert [(await rest("POST", "/v1/jobs", job, **mailer)).status for _ in range(2)] == [201, 201]
    wrong: Reply = await rest("POST", "/v1/jobs", job, **bearer("nonsense"))
    assert (wrong.status, wrong.headers["WWW-Authenticate"]) == (401, "Bearer")
