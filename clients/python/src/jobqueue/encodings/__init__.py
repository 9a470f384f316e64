"""Encodings: compression and encryption of payloads, outputs and checkpoints, between JSON and the wire."""

from .aesgcm import AesGcm
from .base import Encoding, Place, Purpose
from .whole import Encodings
from .zstd import Zstd

__all__ = ["AesGcm", "Encoding", "Encodings", "Place", "Purpose", "Zstd"]
