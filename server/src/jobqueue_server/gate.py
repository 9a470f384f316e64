"""The access step of the chain: on whose behalf a call is made, and whether its principal may call the method at all.

What is permitted on which queue and kind is decided where they are known, in core. Here is what the contract declares
of each method (`proto/jobqueue/v1/access.proto`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter

from google.longrunning import operations_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from grpc_http2 import PeerCertificate
from jobqueue.v1 import (
    access_admin_pb2,
    access_pb2,
    bulk_pb2,
    insight_pb2,
    jobqueue_pb2,
    queue_admin_pb2,
    schedule_pb2,
)

from .chain import DOCUMENTS, METRICS, Call, CallObserver, Chain
from .core.access.access import Access
from .core.access.checks import not_allowed
from .core.access.failures import FailedAttempts, prefix_of
from .core.access.identified import digest_of
from .core.access.keys import id_of
from .core.access.room import AccessRoom
from .errors import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsMissing,
    Draining,
    JobQueueError,
    RateLimited,
)
from .grants import EVERY, NOTHING, Grant, Grants, Permission
from .model import DEFAULT_NAMESPACE
from .rpc.keda import externalscaler_pb2
from .scope import Scope
from .settings import Settings
from .traces.calls import Traces

HEADER = "authorization"
#: The longest text of credentials that is looked at, in characters.
MAX_CREDENTIALS = 16_384
_bearer = re.compile(r"[ \t]*bearer +([^\s]+)[ \t]*", re.IGNORECASE | re.ASCII).fullmatch

_MISSING = "this server wants credentials: send `authorization: Bearer KEY` with each call"
_NO_CERTIFICATE = "this server wants a certificate of the caller, and the connection has none"

_BITS = {
    access_pb2.Access.PUBLIC: Permission.NONE,
    access_pb2.Access.ENQUEUE: Permission.ENQUEUE,
    access_pb2.Access.READ: Permission.READ,
    access_pb2.Access.WORK: Permission.WORK,
    access_pb2.Access.OPERATE: Permission.OPERATE,
    access_pb2.Access.ADMIN: Permission.ADMIN,
}


class PermissionNotDeclared(Exception):
    """A method is served of which the contract does not say who may call it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the contract declares of a method.

    Attributes:
        any_of: One of these permissions is enough; none are needed where there are none.
        audited: Whether each call is written into the audit log.
    """

    any_of: Permission
    audited: bool

    @property
    def names(self) -> str:
        """The permissions for people, such as `OPERATE or ENQUEUE`."""
        return " or ".join(str(permission.name) for permission in self.any_of)


_KINDS_OF_NAMES: dict[str, Callable[[PeerCertificate], tuple[str, ...]]] = {
    "uri": attrgetter("uris"),
    "dns": attrgetter("dns"),
    "cn": attrgetter("common_names"),
}

#: The jobs of an enqueue are counted one by one in core; what ends work is never held up.
_PAID_OTHERWISE = {
    f"/jobqueue.v1.JobQueue/{name}"
    for name in ("EnqueueJob", "BatchEnqueueJobs", "SettleJobs", "HeartbeatSession", "CloseSession")
}
#: Of methods whose .proto file is not ours, so that it can't say. They are served in the same way as ours.
DECLARED_HERE: Mapping[str, access_pb2.Access] = {
    f"google.longrunning.Operations.{name}": access_pb2.Access(
        any_of=[access_pb2.Access.OPERATE, access_pb2.Access.ADMIN],
        object=access_pb2.Access.FILTERED,
        audited=audited,
    )
    for name, audited in (
        ("ListOperations", False),
        ("GetOperation", False),
        ("WaitOperation", False),
        ("CancelOperation", True),
        ("DeleteOperation", True),
    )
} | {
    f"externalscaler.ExternalScaler.{name}": access_pb2.Access(
        any_of=[access_pb2.Access.READ], object=access_pb2.Access.QUEUE_OF_REQUEST
    )
    for name in ("IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics", "StreamMetricSpec")
}
#: Metrics tell of all namespaces: `Gate.decide` lets administrators of `default` alone read them.
_OPERATIONAL = {DOCUMENTS: Rule(EVERY, False), METRICS: Rule(Permission.ADMIN, False)}


def rules_of(services: Iterable[ServiceDescriptor]) -> dict[str, Rule]:
    """The rule of each method of these services, by the method's full name, such as `/jobqueue.v1.JobQueue/GetJob`.

    Raises:
        PermissionNotDeclared: A method has none.
    """
    return {
        f"/{service.full_name}/{method.name}": _rule(method)
        for service in services
        for method in service.methods
    }


def declared_access(method: MethodDescriptor) -> access_pb2.Access:
    """What is declared of a method: in its .proto file, or here where that is not ours; empty: nothing is."""
    here = DECLARED_HERE.get(method.full_name)
    return method.GetOptions().Extensions[access_pb2.access] if here is None else here


def _rule(method: MethodDescriptor) -> Rule:
    declared = declared_access(method)
    if not declared.any_of or not declared.object:
        raise PermissionNotDeclared(
            f"{method.full_name} declares no permission: give it `option (access)` in its .proto, "
            "or an entry in DECLARED_HERE where the .proto is not ours"
        )
    any_of = Permission.NONE
    for permission in declared.any_of:
        any_of |= _BITS[permission]
    return Rule(any_of, declared.audited)


def rules_of_contract() -> dict[str, Rule]:
    """The rule of each method of the services that are served."""
    ours = (jobqueue_pb2, queue_admin_pb2, access_admin_pb2, insight_pb2, bulk_pb2, schedule_pb2)
    files = (*ours, operations_pb2, externalscaler_pb2)
    return rules_of(service for file in files for service in file.DESCRIPTOR.services_by_name.values())


def audited_methods() -> frozenset[str]:
    """The full names of the methods of which each call is written into the audit log."""
    return frozenset(method for method, rule in rules_of_contract().items() if rule.audited)


def access_of(settings: Settings, access: Access) -> Gate | None:
    """What lets calls in; None where callers need not show who they are, and each may do everything."""
    if not settings.auth:
        return None
    return Gate(
        access,
        rules_of_contract() | _OPERATIONAL,
        methods=settings.auth,
        names=settings.mtls_identity,
        anonymous=anonymous_grants(settings.auth_anonymous),
    )


def chain_of(
    settings: Settings, access: AccessRoom, observer: CallObserver, traces: Traces | None = None
) -> Chain:
    """The chain of a server, with what these settings ask of callers."""
    return Chain(
        observer,
        access=access_of(settings, access.access),
        audited=audited_methods(),
        denials=access.denials if access.used else None,
        traces=traces,
    )


class Gate:
    """The chain's `Access` of a server that knows its callers.

    Args:
        access: Keys, in memory.
        rules: Of each method that is served.
        methods: How callers show who they are: `keys`, `jwt`, `mtls`.
        names: Which names of a certificate say who its caller is, of `uri`, `dns` and `cn`.
        anonymous: What a caller may do that shows nothing; None: it is refused.
    """

    def __init__(
        self,
        access: Access,
        rules: Mapping[str, Rule],
        *,
        methods: Sequence[str] = ("keys",),
        names: Sequence[str] = (),
        anonymous: Grants | None = None,
    ) -> None:
        self._access = access
        self._methods = frozenset(methods)
        # Without both a header says nothing here.
        self._bearers = bool(self._methods & {"keys", "jwt"})
        self._names = tuple(_KINDS_OF_NAMES[name] for name in names) if "mtls" in methods else ()
        # Of those that `verdict` answers by itself.
        self._needed = {method: rule.any_of.value for method, rule in rules.items() if method != METRICS}
        self._rules = rules
        self._failures = FailedAttempts()
        self._anonymous = None if anonymous is None else Scope(DEFAULT_NAMESPACE, "anonymous", anonymous)
        self._public = Scope(DEFAULT_NAMESPACE, "anonymous", NOTHING)

    def verdict(self, call: Call) -> Scope | None:
        """The scope of a call that memory alone allows; None where `decide` has to say."""
        shown = call.metadata.get(HEADER) if self._bearers else None
        if shown is None:
            scope = self._anonymous
            if call.certificate is not None and self._names:
                scope = self._access.others.remembered_certificate(call.certificate)
        elif isinstance(shown, str) and shown.startswith("Bearer "):
            scope = self._access.remembered(shown[7:])
        else:
            return None
        if scope is None or not scope.grants.bits & self._needed.get(call.method, 0):
            return None
        if scope.bucket is not None and call.method not in _PAID_OTHERWISE and not scope.bucket.try_take():
            return None
        return scope

    async def decide(self, call: Call) -> Scope:
        """The scope of a call for which there was no verdict.

        Raises:
            CredentialsMissing, CredentialsInvalid, CredentialsExpired, CredentialsRevoked: Who calls is not known.
            IssuerAway: Whether a token is good can't be said.
            NamespaceDisabled: The caller's namespace is not in use.
            NotAllowed: The principal may not call this method, on any queue.
            RateLimited: The principal calls more often than it may; or the credentials are not known, and the address
                has shown bad ones too often.
        """
        rule = self._rules.get(call.method)
        if rule is not None and not rule.any_of:
            return self._public
        # A call that is refused from here on is known to be its principal's.
        scope = call.scope = await self._principal(call)
        if rule is not None and not scope.grants.anywhere & rule.any_of:
            raise not_allowed(rule.names, f"call {call.method.rpartition('/')[2]}")
        if scope.bucket is not None and call.method not in _PAID_OTHERWISE:
            scope.bucket.take()
        if call.method == METRICS and scope.namespace != DEFAULT_NAMESPACE:
            raise not_allowed("ADMIN", "read metrics, which tell of all namespaces", namespace="default")
        return scope

    def ended(self, scope: Scope) -> JobQueueError | None:
        """Why a call of this scope that was let in may not go on; None: it may.

        A call whose grants have changed is ended too, so that it is made again under those of now.
        """
        now, error = self._access.now(scope)
        if error is None and now.grants != scope.grants:
            return Draining("the grants of these credentials have changed; call again")
        return error

    def hear_change(self, listener: Callable[[], object]) -> None:
        """Keys may have changed or ended."""
        self._access.hear_change(listener)

    def _named(self, certificate: PeerCertificate) -> tuple[str, ...]:
        """The names of the first kind that counts and that the certificate has."""
        for names_of in self._names:
            if names := names_of(certificate):
                return names
        return ()

    async def _principal(self, call: Call) -> Scope:
        if not self._bearers or HEADER not in call.metadata:
            if call.certificate is not None and self._names:
                return self._look_at_certificate(call, call.certificate)
            if self._anonymous is None:
                raise CredentialsMissing(_MISSING if self._bearers else _NO_CERTIFICATE)
            return self._anonymous
        try:
            text = _credentials(call)
        except CredentialsInvalid:
            self._failed(call, "")
            raise
        # A key is no token by its first letters.
        if "jwt" in self._methods and not (text.startswith("jq_") and "keys" in self._methods):
            return await self._look_at_token(call, text)
        return self._look_at_key(call, text)

    def _look_at_key(self, call: Call, text: str) -> Scope:
        # Each key is looked at: that takes one hash, and the good one of a caller whose neighbour guesses passes.
        try:
            return self._access.look(text, call.address)
        except JobQueueError as error:
            if (known := self._access.scope_of(text)) is not None:
                call.scope = known
            if error.reason == CredentialsInvalid.reason:
                self._failed(call, id_of(text) or "")
            raise

    def _look_at_certificate(self, call: Call, certificate: PeerCertificate) -> Scope:
        names = self._named(certificate)
        try:
            return self._access.others.look_at_certificate(certificate, names)
        except JobQueueError:
            if (known := self._access.others.scope_of_names(names)) is not None:
                call.scope = known
            raise

    async def _look_at_token(self, call: Call, text: str) -> Scope:
        others, digest = self._access.others, digest_of(text)
        if not others.knows(digest):
            # Before the look, which checks a signature.
            self._refuse(prefix_of(call.address), digest)
        try:
            return await others.look_at_token(text, digest)
        except (CredentialsInvalid, CredentialsExpired):
            if not others.knows(digest):
                self._failed(call, digest)
            raise

    def _failed(self, call: Call, credential: str) -> None:
        """Counts a bad credential.

        Raises:
            RateLimited: It has failed too often at this address, or others have.
        """
        prefix = prefix_of(call.address)
        self._refuse(prefix, credential)
        self._failures.note(prefix, credential, time.monotonic())

    def _refuse(self, prefix: str, credential: str) -> None:
        if self._failures.refuses(prefix, credential, time.monotonic()):
            raise RateLimited(
                "these credentials are not known here, and this address has shown bad ones too often; check them, "
                "and call again later",
                retry_after=timedelta(seconds=1),
            )


def anonymous_grants(permissions: Iterable[str]) -> Grants | None:
    """What a caller may do that shows nothing, by the names of settings; None: nothing, so that it is refused."""
    granted = Permission.NONE
    for name in permissions:
        granted |= Permission[name.upper()]
    return Grants([Grant(granted)]) if granted else None


def _credentials(call: Call) -> str:
    """The text after the scheme."""
    shown = call.text(HEADER)
    found = _bearer(shown) if len(shown) <= MAX_CREDENTIALS else None
    if found is None:
        raise CredentialsInvalid(
            "authorization: must be `Bearer` and a key or a token, such as `Bearer jq_...`"
        )
    return found.group(1)
