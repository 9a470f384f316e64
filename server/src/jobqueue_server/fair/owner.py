"""Who stands behind a call, for places that principals share."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TypeAlias

#: The number of a namespace and the name of a principal in it. None: the server itself, or a caller of a server that
#: asks for no credentials, which can't tell its callers apart.
Owner: TypeAlias = tuple[int, str] | None

#: On whose behalf the current task works; the chain sets it once it knows who calls.
OWNER: ContextVar[Owner] = ContextVar("owner", default=None)
#: The connection that the current call came by; set by the chain, empty inside of the server.
CALLER: ContextVar[str] = ContextVar("caller", default="")
