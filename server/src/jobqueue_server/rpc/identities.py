"""The methods of AccessAdmin about identities: convert, call the core, render."""

from __future__ import annotations

import re

from jobqueue.v1 import access_admin_pb2 as admin_pb

from ..chain import Call
from ..core.access.identity_admin import IdentityAdmin
from ..store.access.access import Identity, NewIdentity
from . import checks, convert
from .access_admin import check_grants, check_limit, check_namespace, grant_messages
from .checks import Problems

MAX_PATTERN_CHARS = MAX_ISSUER_CHARS = 512
MAX_CLAIM_CHARS = 100
KINDS = ("jwt", "mtls")
_is_id = re.compile(r"[1-9][0-9]{0,17}").fullmatch
_is_pattern = re.compile(r"[^*\x00-\x1f\x7f]+\*?|\*").fullmatch


class IdentityServicer:
    """Identities. The errors are those of the contract; they rise from checks and core."""

    def __init__(self, identities: IdentityAdmin) -> None:
        self._identities = identities

    async def PutIdentity(
        self, request: admin_pb.PutIdentityRequest, call: Call
    ) -> admin_pb.PutIdentityResponse:
        """Makes an identity, or replaces its grants."""
        problems = Problems()
        if request.kind not in KINDS:
            problems.add("kind", "must be `jwt` or `mtls`")
        if len(request.pattern) > MAX_PATTERN_CHARS or not _is_pattern(request.pattern):
            problems.add(
                "pattern",
                f"must be a name, or its beginning and `*` at the end, in 1 to {MAX_PATTERN_CHARS} characters, none of "
                "them a control character, such as spiffe://example.org/ns/prod/*",
            )
        for name, most in (("issuer", MAX_ISSUER_CHARS), ("claim", MAX_CLAIM_CHARS)):
            value = getattr(request, name)
            checks.text(value, name, most, problems)
            if value and request.kind == "mtls":
                problems.add(name, "must be empty with `mtls`: a certificate has none")
        grants = check_grants(request.grants, problems)
        limit = check_limit(request.rate_limit, problems) if request.HasField("rate_limit") else None
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        new = NewIdentity(
            request.kind, request.pattern, grants, call.scope.principal, request.issuer, request.claim, limit
        )
        put = await self._identities.put(call.scope, new, request.namespace)
        return admin_pb.PutIdentityResponse(identity=identity_message(put))

    async def ListIdentities(
        self, request: admin_pb.ListIdentitiesRequest, call: Call
    ) -> admin_pb.ListIdentitiesResponse:
        """Reads a page of identities."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        found, token = await self._identities.list(
            call.scope, request.page_size, request.page_token, request.namespace
        )
        return admin_pb.ListIdentitiesResponse(
            identities=[identity_message(each) for each in found], next_page_token=token
        )

    async def DeleteIdentity(
        self, request: admin_pb.DeleteIdentityRequest, call: Call
    ) -> admin_pb.DeleteIdentityResponse:
        """Deletes an identity."""
        problems = Problems()
        if not _is_id(request.id):
            problems.add("id", "must be the number of an identity, such as 7")
        check_namespace(request.namespace, problems)
        problems.raise_if_any()
        await self._identities.delete(call.scope, int(request.id), request.namespace)
        return admin_pb.DeleteIdentityResponse()


def identity_message(identity: Identity) -> admin_pb.Identity:
    """An identity as it is answered."""
    message = admin_pb.Identity(
        id=str(identity.id),
        kind=identity.kind,
        pattern=identity.pattern,
        issuer=identity.issuer,
        claim=identity.claim,
        namespace=identity.namespace,
        grants=grant_messages(identity.grants),
        created_by=identity.created_by,
    )
    convert.set_moment(message.created_at, identity.created_at)
    if identity.limit is not None:
        message.rate_limit.per_second = identity.limit.rate
        message.rate_limit.burst = identity.limit.burst
    return message
