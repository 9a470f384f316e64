"""What the certificate of a connection's other side names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class PeerNames(NamedTuple):
    """The names in a certificate that the authority of this side has signed, in their order."""

    uris: tuple[str, ...]
    dns: tuple[str, ...]
    common_names: tuple[str, ...]


def names_of(certificate: Mapping[str, Any] | None) -> PeerNames | None:
    """The names of what `ssl` calls `peercert`; None where the other side showed none."""
    if not certificate:
        return None
    others = certificate.get("subjectAltName", ())
    return PeerNames(
        tuple(value for kind, value in others if kind == "URI"),
        tuple(value for kind, value in others if kind == "DNS"),
        tuple(
            value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"
        ),
    )
