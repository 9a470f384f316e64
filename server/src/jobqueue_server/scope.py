"""On whose behalf a call is made: the namespace in which its names and ids mean something, and who makes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .grants import EVERYTHING, Grants
from .rates import Bucket


@dataclass(frozen=True, slots=True)
class Scope:
    """The first argument of all that core and store do by a caller's name or id.

    What is in another namespace is not there for the caller. The chain decides the scope of each call. All calls of a
    principal have the same instance: making one for each would cost the hot path more than all looks at it.

    Attributes:
        namespace: The number of a row of the table `namespace`.
        principal: The name of who calls. All keys that succeed each other are one principal.
        grants: What the principal may do within the namespace.
        credential: Which credential the principal showed, such as `key:` and the id of a key; empty for none.
        bucket: How often the principal may call; None: as often as it likes.
    """

    namespace: int
    principal: str
    grants: Grants = EVERYTHING
    credential: str = ""
    bucket: Bucket | None = field(default=None, compare=False)
