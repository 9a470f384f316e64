"""The other queues, each on its own documented fast path."""

from __future__ import annotations

from .graphile import Graphile
from .peer import WORKLOADS, Peer, PeerFailed, PeerResult
from .pg_boss import PgBoss
from .pgqueuer import PgQueuer
from .procrastinate import Procrastinate
from .river import River
from .seed import Seed

PEERS: list[Peer] = [River(), Graphile(), PgQueuer(), PgBoss(), Procrastinate(), Seed()]

__all__ = ["PEERS", "WORKLOADS", "Peer", "PeerFailed", "PeerResult"]
