"""What a call shows and carries beside its request: a key, and the trace that it belongs to."""

from __future__ import annotations

import secrets


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """The field by which a call shows a key; none without one."""
    return (("authorization", f"Bearer {key}"),) if key else ()


def traceparent() -> str:
    """That of a new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
