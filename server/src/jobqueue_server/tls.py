"""The server's certificate, for both transports."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path


class TlsUnusable(Exception):
    """A certificate or key can't be used. The text names the setting and what is wrong, for the operator."""


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate and its key, checked.

    Attributes:
        http1: The TLS context of the HTTP server.
        http2: The TLS context of the gRPC server.
        certificate, key, client_ca: The content of the files, for the engine `grpcio`, which has its own TLS.
    """

    http1: ssl.SSLContext
    http2: ssl.SSLContext
    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None

    @classmethod
    def load(cls, cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """Reads the files that the settings name; None if they name none.

        Raises:
            TlsUnusable: A file is missing or unreadable, or the key does not belong to the certificate.
        """
        if cert is None and key is None and client_ca is None:
            return None
        if cert is None or key is None:
            raise TlsUnusable(
                "TLS needs a certificate and its key: set JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY"
            )
        certificate = _read(cert, "JOBQUEUE_TLS_CERT")
        secret = _read(key, "JOBQUEUE_TLS_KEY")
        authorities = None if client_ca is None else _read(client_ca, "JOBQUEUE_TLS_CLIENT_CA")
        return cls(
            _context("http/1.1", cert, key, client_ca),
            _context("h2", cert, key, client_ca),
            certificate,
            secret,
            authorities,
        )


def _context(protocol: str, cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """The TLS context for a protocol. With a CA, clients must show a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # gRPC's clients accept no older version either.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        # Without this function OpenSSL would ask the terminal for a password.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise TlsUnusable(
            f"{cert} (JOBQUEUE_TLS_CERT) and {key} (JOBQUEUE_TLS_KEY) are no certificate and its unencrypted "
            f"key, as PEM: {error}"
        ) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            message = f"{client_ca} (JOBQUEUE_TLS_CLIENT_CA) holds no certificate as PEM: {error}"
            raise TlsUnusable(message) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsUnusable(f"{path} can't be read: {error.strerror} (named by {setting})") from None
