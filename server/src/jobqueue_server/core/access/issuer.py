"""Who makes tokens, and what a token says. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Issuer:
    """One of those whose tokens are taken.

    Attributes:
        name: The claim `iss`. It has no `#`.
        audience: What the claim `aud` has to be, or to have in its list.
        keys_url: Where its keys are (JWKS).
        algorithms: By which tokens may be signed.
        claims: The first of these that a token has is its subject.
    """

    name: str
    audience: str
    keys_url: str
    algorithms: tuple[str, ...]
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good token says. `ends_ms`: when it ends, in milliseconds since 1970."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]
    ends_ms: int
