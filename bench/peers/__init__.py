"""The other queues, each on its own documented fast path."""

from __future__ import annotations

from .peer import WORKLOADS, Peer, PeerFailed, PeerResult
from .river import River
from .seed import Seed

PEERS: list[Peer] = [River(), Seed()]

__all__ = ["PEERS", "WORKLOADS", "Peer", "PeerFailed", "PeerResult"]
