"""The other queues, each on its own documented fast path."""

from __future__ import annotations

from .peer import WORKLOADS, Peer, PeerFailed, PeerResult

PEERS: list[Peer] = []

__all__ = ["PEERS", "WORKLOADS", "Peer", "PeerFailed", "PeerResult"]
