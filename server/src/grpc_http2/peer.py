"""What the certificate of a connection's other side says."""

from __future__ import annotations

from typing import Any, NamedTuple

from .der import read_certificate


class PeerCertificate(NamedTuple):
    """A certificate that the authority of this side has signed.

    Attributes:
        uris, dns, common_names: Its names, in their order.
        issuer: Its issuer's name in DER.
        serial: Its number among those of the issuer.
        ends: When it ends, in seconds since 1970.
    """

    uris: tuple[str, ...]
    dns: tuple[str, ...]
    common_names: tuple[str, ...]
    issuer: bytes
    serial: int
    ends: float


def certificate_of(transport: Any) -> PeerCertificate | None:
    """What the other side of a connection has shown; None where it has shown none."""
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    others = certificate.get("subjectAltName", ())
    return PeerCertificate(
        tuple(value for kind, value in others if kind == "URI"),
        tuple(value for kind, value in others if kind == "DNS"),
        tuple(
            value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"
        ),
        *read_certificate(transport.get_extra_info("ssl_object").getpeercert(binary_form=True)),
    )
