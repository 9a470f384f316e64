"""Encodings as a program has them in a module of its own: what `--encodings` names."""

from __future__ import annotations

from jobqueue import AesGcm, Encodings, Zstd, define_kind

KEYS = {"2026-10": bytes(range(32)), "2026-11": bytes(range(32, 64))}
ENCODINGS = Encodings([Zstd(over=64), AesGcm(KEYS, primary="2026-11")])
OLDER = Encodings([AesGcm(KEYS, primary="2026-10")])
COMPRESSED = Encodings([Zstd(over=64)])
NOTHING = define_kind("nothing")
GONE = Encodings([AesGcm(lambda name: None, primary="gone")])
