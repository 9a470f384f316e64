"""The scope of a call: the namespace of its names and ids, and the principal that makes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .fair.owner import Owner
from .grants import EVERYTHING, Grants
from .rates import Bucket


@dataclass(frozen=True, slots=True)
class Source:
    """Whence an audited call came, for the audit log.

    Attributes:
        address: The caller's IP address, as this server sees it; empty where the transport has none.
        transport: `grpc`, `http`, or `database` for what is written straight there.
        request_id: That of the call.
    """

    address: str
    transport: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The first argument of every method of core and store that takes a caller's name or id.

    A caller can't see what is in another namespace. The chain decides the scope of each call. All calls of a principal
    share one instance: to make one for each call would cost the hot path more than all reads of it.

    Attributes:
        namespace: The number of a row of the table `namespace`.
        principal: The name of the caller. All keys that succeed each other are one principal.
        grants: What the principal may do within the namespace.
        credential: Which credential the principal showed, such as `key:` and the id of a key; empty for none.
        bucket: How often the principal may call; None: as often as it likes.
        ends_ms: When the token or the certificate ends that was shown, in milliseconds since 1970; None for keys.
        certificate: The issuer and the serial number of the certificate that was shown; None for other credentials.
        source: Whence the call came, of calls that are audited. These alone have an instance of their own.
        owner: Whose share is used of what principals share; None where the server asks for no credentials.
    """

    namespace: int
    principal: str
    grants: Grants = EVERYTHING
    credential: str = ""
    bucket: Bucket | None = field(default=None, compare=False)
    ends_ms: int | None = field(default=None, compare=False)
    certificate: tuple[bytes, int] | None = field(default=None, compare=False)
    source: Source | None = field(default=None, compare=False)
    owner: Owner = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        told_apart = self.credential or self.grants is not EVERYTHING
        object.__setattr__(self, "owner", (self.namespace, self.principal) if told_apart else None)

    @property
    def maker(self) -> Maker:
        """Who makes what goes on by itself."""
        return Maker(
            self.namespace, self.principal, () if self.credential.startswith("key:") else (self.credential,)
        )


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made an operation or a schedule, which goes on while this principal is there.

    Attributes:
        namespace: Where.
        principal: Its name.
        credentials: What it showed, where the name alone does not say whether it is there still: identities.
    """

    namespace: int
    principal: str
    credentials: tuple[str, ...] = ()

    @property
    def credential(self) -> str:
        """The one that it showed; empty: the name says enough."""
        return self.credentials[0] if self.credentials else ""
