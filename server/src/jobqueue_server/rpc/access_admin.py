"""The service AccessAdmin: convert, call the core, render."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_network

from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import access_admin_pb2 as admin_pb
from jobqueue.v1 import access_pb2

from ..chain import Call
from ..core.access.admin import AccessAdmin, WantedKey, is_key_id
from ..grants import MAX_GRANTS, MAX_PAIRS, MAX_PATTERNS, Grant, Grants, Permission
from ..store.access.access import Key, Limit, Namespace
from . import checks, convert
from .checks import Problems

MAX_KEY_NAME_CHARS = 100
MAX_REVOKE_REASON_CHARS = 512
MAX_NETWORKS = 100
MAX_RATE = 1_000_000
MIN_LIFETIME, MAX_LIFETIME = timedelta(minutes=1), timedelta(days=3650)
DEFAULT_GRACE, MAX_GRACE = timedelta(hours=24), timedelta(days=30)

_NUMBERS = {
    Permission.ENQUEUE: access_pb2.Access.ENQUEUE,
    Permission.READ: access_pb2.Access.READ,
    Permission.WORK: access_pb2.Access.WORK,
    Permission.OPERATE: access_pb2.Access.OPERATE,
    Permission.ADMIN: access_pb2.Access.ADMIN,
}
_BITS = {number: permission for permission, number in _NUMBERS.items()}
_GRANTABLE = {str(permission.name): number for permission, number in _NUMBERS.items()}
_EVERYWHERE = ("*",)

_is_pattern = re.compile(r"\*|[a-z0-9][a-z0-9_.-]{0,127}|[a-z0-9][a-z0-9_.-]{0,126}\*").fullmatch


class AccessAdminServicer:
    """Keys and namespaces. The errors are those of the contract; they rise from checks and core."""

    def __init__(self, admin: AccessAdmin) -> None:
        self._admin = admin

    async def GetAccess(self, request: admin_pb.GetAccessRequest, call: Call) -> admin_pb.GetAccessResponse:
        """Shows who the caller is."""
        caller = self._admin.caller(call.scope)
        answer = admin_pb.GetAccessResponse(
            principal=caller.principal,
            credential=caller.credential,
            namespace=caller.namespace,
            grants=grant_messages(caller.grants),
        )
        _set(answer.expires_at, caller.expires_at)
        return answer

    async def CreateKey(self, request: admin_pb.CreateKeyRequest, call: Call) -> admin_pb.CreateKeyResponse:
        """Makes a key."""
        problems = Problems()
        checks.short_text(request.name, "name", MAX_KEY_NAME_CHARS, problems)
        grants = check_grants(request.grants, problems)
        lifetime = _lifetime(request, problems)
        limit = check_limit(request.rate_limit, problems) if request.HasField("rate_limit") else None
        networks = _networks(request.networks, problems)
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        wanted = WantedKey(request.name, grants, lifetime, limit, networks)
        key, secret = await self._admin.create_key(call.scope, wanted, request.namespace)
        return admin_pb.CreateKeyResponse(key=key_message(key), secret=secret)

    async def GetKey(self, request: admin_pb.GetKeyRequest, call: Call) -> admin_pb.GetKeyResponse:
        """Reads one key."""
        problems = Problems()
        _key_id(request.id, problems)
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        key = await self._admin.get_key(call.scope, request.id, request.namespace)
        return admin_pb.GetKeyResponse(key=key_message(key))

    async def ListKeys(self, request: admin_pb.ListKeysRequest, call: Call) -> admin_pb.ListKeysResponse:
        """Reads a page of keys by name and id."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        keys, token = await self._admin.list_keys(
            call.scope, request.page_size, request.page_token, request.namespace
        )
        return admin_pb.ListKeysResponse(keys=[key_message(key) for key in keys], next_page_token=token)

    async def RotateKey(self, request: admin_pb.RotateKeyRequest, call: Call) -> admin_pb.RotateKeyResponse:
        """Makes the successor of a key."""
        problems = Problems()
        _key_id(request.id, problems)
        grace = DEFAULT_GRACE
        if request.HasField("grace") and checks.duration(
            request.grace, "grace", timedelta(), MAX_GRACE, problems
        ):
            grace = convert.span(request.grace)
        lifetime = _lifetime(request, problems)
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        key, secret = await self._admin.rotate_key(call.scope, request.id, grace, lifetime, request.namespace)
        return admin_pb.RotateKeyResponse(key=key_message(key), secret=secret)

    async def RevokeKey(self, request: admin_pb.RevokeKeyRequest, call: Call) -> admin_pb.RevokeKeyResponse:
        """Revokes a key."""
        problems = Problems()
        _key_id(request.id, problems)
        checks.text(request.reason, "reason", MAX_REVOKE_REASON_CHARS, problems)
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        key = await self._admin.revoke_key(call.scope, request.id, request.reason, request.namespace)
        return admin_pb.RevokeKeyResponse(key=key_message(key))

    async def CreateNamespace(
        self, request: admin_pb.CreateNamespaceRequest, call: Call
    ) -> admin_pb.CreateNamespaceResponse:
        """Makes a namespace."""
        namespace = await self._admin.create_namespace(call.scope, _named(request.name))
        return admin_pb.CreateNamespaceResponse(namespace=namespace_message(namespace))

    async def ListNamespaces(
        self, request: admin_pb.ListNamespacesRequest, call: Call
    ) -> admin_pb.ListNamespacesResponse:
        """Reads a page of namespaces by name."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        problems.raise_if_any()
        namespaces, token = await self._admin.list_namespaces(
            call.scope, request.page_size, request.page_token
        )
        return admin_pb.ListNamespacesResponse(
            namespaces=[namespace_message(namespace) for namespace in namespaces], next_page_token=token
        )

    async def DisableNamespace(
        self, request: admin_pb.DisableNamespaceRequest, call: Call
    ) -> admin_pb.DisableNamespaceResponse:
        """Refuses every call in a namespace."""
        namespace = await self._admin.disable_namespace(call.scope, _named(request.name))
        return admin_pb.DisableNamespaceResponse(namespace=namespace_message(namespace))

    async def EnableNamespace(
        self, request: admin_pb.EnableNamespaceRequest, call: Call
    ) -> admin_pb.EnableNamespaceResponse:
        """Takes calls in a namespace again."""
        namespace = await self._admin.enable_namespace(call.scope, _named(request.name))
        return admin_pb.EnableNamespaceResponse(namespace=namespace_message(namespace))


# ---- what requests have


def _key_id(value: str, problems: Problems) -> None:
    if not is_key_id(value):
        problems.add("id", "must be the 10 characters of a key between `jq_` and the next `_`")


def check_namespace(value: str, problems: Problems) -> None:
    """The name of a namespace; empty for the caller's."""
    if value:
        checks.name(value, "namespace", problems, "team-a")


def _named(name: str) -> str:
    problems = Problems()
    checks.name(name, "name", problems, "team-a")
    problems.raise_if_any()
    return name


def _lifetime(
    request: admin_pb.CreateKeyRequest | admin_pb.RotateKeyRequest, problems: Problems
) -> timedelta | None:
    if request.HasField("expires_in") and checks.duration(
        request.expires_in, "expires_in", MIN_LIFETIME, MAX_LIFETIME, problems
    ):
        return convert.span(request.expires_in)
    return None


def check_limit(message: admin_pb.RateLimit, problems: Problems) -> Limit:
    """A rate, checked."""
    if not 1 <= message.per_second <= MAX_RATE:
        problems.add("rate_limit.per_second", f"must be 1 to {MAX_RATE}")
    if not 0 <= message.burst <= MAX_RATE:
        problems.add("rate_limit.burst", f"must be 1 to {MAX_RATE}, or 0 for as many as per_second")
    return Limit(message.per_second, message.burst or message.per_second)


def _networks(given: Sequence[str], problems: Problems) -> tuple[str, ...]:
    if len(given) > MAX_NETWORKS:
        problems.add("networks", f"must be at most {MAX_NETWORKS} networks, not {len(given)}")
        return ()
    return tuple(_network(text, f"networks[{index}]", problems) for index, text in enumerate(given))


def _network(text: str, field: str, problems: Problems) -> str:
    try:
        if "%" not in text:
            return str(ip_network(text))
    except ValueError:
        pass
    problems.add(
        field,
        "must be an address or a network whose bits after its prefix are zero, such as 10.0.0.0/8 or 2001:db8::/32",
    )
    return ""


def check_grants(given: Sequence[admin_pb.Grant], problems: Problems) -> Grants:
    """Grants, checked."""
    if not 1 <= len(given) <= MAX_GRANTS:
        problems.add("grants", f"must be 1 to {MAX_GRANTS} grants, not {len(given)}")
        return Grants()
    grants = [_grant(message, f"grants[{index}]", problems) for index, message in enumerate(given)]
    pairs = sum(len(grant.queues) * len(grant.kinds) for grant in grants)
    if pairs > MAX_PAIRS:
        problems.add(
            "grants",
            f"must have at most {MAX_PAIRS} pairs of a pattern of queues and one of kinds, not {pairs}",
        )
    return Grants(grants)


def _grant(message: admin_pb.Grant, at: str, problems: Problems) -> Grant:
    permissions = _permissions(message, at, problems)
    queues = _patterns(message.queues, f"{at}.queues", problems)
    kinds = _patterns(message.kinds, f"{at}.kinds", problems)
    if Permission.ADMIN in permissions:
        for field, patterns in (("queues", queues), ("kinds", kinds)):
            if patterns != _EVERYWHERE:
                problems.add(
                    f"{at}.{field}", "must be `*` or empty with ADMIN, which is for the whole namespace"
                )
    return Grant(permissions, queues, kinds)


def _permissions(message: admin_pb.Grant, at: str, problems: Problems) -> Permission:
    found = Permission.NONE
    if not message.permissions:
        problems.add(f"{at}.permissions", f"must have at least one of {', '.join(_GRANTABLE)}")
    for index, number in enumerate(message.permissions):
        checks.enum(number, _GRANTABLE, f"{at}.permissions[{index}]", problems)
        found |= _BITS.get(number, Permission.NONE)
    if message.payloads:
        if Permission.READ not in found:
            problems.add(f"{at}.payloads", "must not be set without READ, to which it belongs")
        found |= Permission.PAYLOADS
    return found


def _patterns(given: Sequence[str], field: str, problems: Problems) -> tuple[str, ...]:
    if len(given) > MAX_PATTERNS:
        problems.add(field, f"must be at most {MAX_PATTERNS} patterns, not {len(given)}")
        return _EVERYWHERE
    for index, text in enumerate(given):
        if not _is_pattern(text):
            problems.add(
                f"{field}[{index}]", "must be a name, or the beginning of one and `*`, such as mail or mail-*"
            )
    return tuple(dict.fromkeys(given)) or _EVERYWHERE


# ---- what answers have


def key_message(key: Key) -> admin_pb.Key:
    """A key as it is answered."""
    message = admin_pb.Key(
        id=key.id,
        name=key.name,
        namespace=key.namespace,
        principal=f"key:{key.lineage}",
        grants=grant_messages(key.grants),
        networks=key.networks,
        created_by=key.created_by,
        revoked_by=key.revoked_by or "",
        revoke_reason=key.revoke_reason or "",
        succeeds=key.succeeds or "",
    )
    convert.set_moment(message.created_at, key.created_at)
    if key.limit is not None:
        message.rate_limit.per_second = key.limit.rate
        message.rate_limit.burst = key.limit.burst
    _set(message.expires_at, key.expires_at)
    _set(message.revoked_at, key.revoked_at)
    _set(message.last_used_at, key.last_used_at)
    return message


def namespace_message(namespace: Namespace) -> admin_pb.Namespace:
    """A namespace as it is answered."""
    message = admin_pb.Namespace(name=namespace.name)
    convert.set_moment(message.created_at, namespace.created_at)
    _set(message.disabled_at, namespace.disabled_at)
    return message


def grant_messages(grants: Grants) -> Iterable[admin_pb.Grant]:
    """Grants as they are answered."""
    return [
        admin_pb.Grant(
            permissions=[
                number for permission, number in _NUMBERS.items() if permission in grant.permissions
            ],
            queues=grant.queues,
            kinds=grant.kinds,
            payloads=Permission.PAYLOADS in grant.permissions,
        )
        for grant in grants.each
    ]


def _set(target: Timestamp, value: datetime | None) -> None:
    """Writes a time that may be none: a field that is not touched stays unset."""
    if value is not None:
        convert.set_moment(target, value)
