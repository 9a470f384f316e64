"""The server's certificate, for both transports."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


class TlsUnusable(Exception):
    """The operator's to mend: a certificate or key can't be used. The text names the setting and what is wrong."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files that were read and fit each other.

    Attributes:
        chain: The certificate and those that signed it, PEM.
        key: Its key, PEM.
        client_ca: Who signs the certificates that clients must show; None: they need none.
        context: The same for servers of Python's.
    """

    chain: bytes
    key: bytes
    client_ca: bytes | None
    context: ssl.SSLContext

    @classmethod
    def load(cls, cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """Reads what the settings name; None where they name nothing.

        Raises:
            TlsUnusable: Something is missing, unreadable, or does not fit.
        """
        if cert is None and key is None and client_ca is None:
            return None
        if cert is None or key is None:
            raise TlsUnusable(
                "TLS needs a certificate and its key: set JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # gRPC takes no older one either.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        chain, secret = _read(cert, "JOBQUEUE_TLS_CERT"), _read(key, "JOBQUEUE_TLS_KEY")
        try:
            # Without a password of its own OpenSSL would ask the terminal for one.
            context.load_cert_chain(cert, key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise TlsUnusable(
                f"{cert} (JOBQUEUE_TLS_CERT) and {key} (JOBQUEUE_TLS_KEY) are no certificate and its unencrypted "
                f"key, as PEM: {error}"
            ) from None
        trusted = None
        if client_ca is not None:
            trusted = _read(client_ca, "JOBQUEUE_TLS_CLIENT_CA")
            try:
                context.load_verify_locations(client_ca)
            except ssl.SSLError as error:
                message = f"{client_ca} (JOBQUEUE_TLS_CLIENT_CA) holds no certificate as PEM: {error}"
                raise TlsUnusable(message) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return cls(chain, secret, trusted, context)


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsUnusable(f"{path} can't be read: {error.strerror} (named by {setting})") from None
