"""The server's certificate and the authority of its callers', for both transports; replaced while it serves."""

from __future__ import annotations

import asyncio
import re
import ssl
from binascii import a2b_base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpc_http2 import read_certificate, read_revoked

from . import logs
from .metrics import Metrics
from .settings import Settings

#: How often the files are looked at, in seconds.
EVERY = 10.0
_CRL = b"-----BEGIN X509 CRL-----"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_first_certificate = re.compile(
    rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL
).search
_lists = re.compile(rb"-----BEGIN X509 CRL-----(.*?)-----END X509 CRL-----", re.DOTALL).finditer

# What OpenSSL says of a first record that is none: of HTTP/1.1's usual methods, and of all else.
_PLAIN_TEXT = frozenset(("HTTP_REQUEST", "WRONG_VERSION_NUMBER"))
_HINT = b"This port speaks TLS. Call it by https://, and by gRPC with TLS.\n"
# A status of its own, which clients of gRPC show: they read HTTP/1.1 as far as to say that it is not theirs.
_SPEAKS_TLS = (
    b"HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.2\r\nconnection: upgrade, close\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(_HINT), _HINT)
)

_log = logs.get(__name__)


class TlsUnusable(Exception):
    """A certificate or key can't be used. The text names the setting and what is wrong, for the operator."""


class Handshake(ssl.SSLObject):
    """A new connection, whose caller is told what the port speaks where it begins in plain text."""

    #: Where the loop takes what is to be sent.
    outgoing: ssl.MemoryBIO
    _refused: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Goes on with the handshake.

        Raises:
            ssl.SSLError: It failed.
            ssl.SSLWantReadError: It waits for the caller, who may have to read an answer and hang up.
        """
        if self._refused is not None:
            raise self._refused
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason not in _PLAIN_TEXT:
                raise
            self._refused = error
            # OpenSSL has put an alert there, which is not text.
            self.outgoing.read()
            self.outgoing.write(_SPEAKS_TLS)
            # On an error loops abort the connection, and send nothing more. So it ends with the caller, or in time.
            raise ssl.SSLWantReadError from None


class CurrentContext(ssl.SSLContext):
    """What a listening port has for as long as it listens: new connections get the context of now.

    A context of OpenSSL takes a new certificate, but never forgets an authority or a revoked certificate; so all of it
    is replaced. Loops ask a context for nothing but `wrap_bio`.
    """

    inner: ssl.SSLContext

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **how: Any
    ) -> ssl.SSLObject:
        """A new connection."""
        made = self.inner.wrap_bio(incoming, outgoing, *args, **how)
        assert isinstance(made, Handshake)
        made.outgoing = outgoing
        return made


@dataclass(frozen=True, slots=True)
class _Files:
    """What the settings name. `demands`: whether a caller without a certificate gets no connection."""

    cert: Path
    key: Path
    client_ca: Path | None
    client_crl: Path | None
    demands: bool

    def stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes when one of them does."""
        return tuple(_stamp(path) for path in (self.cert, self.key, self.client_ca, self.client_crl))


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Files that were read and fit each other."""

    http1: ssl.SSLContext
    http2: ssl.SSLContext
    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    not_after: float
    revoked: Mapping[bytes, frozenset[int]]


class RevokedCertificates:
    """Those that the lists of now name. Connections that were made before a list was replaced are asked after here."""

    def __init__(self, by_issuer: Mapping[bytes, frozenset[int]]) -> None:
        self._by_issuer = by_issuer
        self._on_change: list[Callable[[], object]] = []

    def has(self, issuer: bytes, serial: int) -> bool:
        """Whether the issuer, by its name in DER, has revoked its certificate of this number."""
        return serial in self._by_issuer.get(issuer, ())

    def hear_change(self, listener: Callable[[], object]) -> None:
        """The lists were replaced."""
        self._on_change.append(listener)

    def replace(self, by_issuer: Mapping[bytes, frozenset[int]]) -> None:
        """Takes other lists."""
        changed, self._by_issuer = by_issuer != self._by_issuer, by_issuer
        if changed:
            for listener in self._on_change:
                listener()


class Tls:
    """What the ports speak TLS by.

    Attributes:
        http1: For the HTTP server.
        http2: For the gRPC server.
        demands: Whether a caller without a certificate gets no connection.
        revoked: The certificates of callers that were revoked; None: there is no list of them.
    """

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._stamps = files.stamps()
        self._loaded = _load(files)
        self.demands = files.demands
        self.revoked = None if files.client_crl is None else RevokedCertificates(self._loaded.revoked)
        self.http1 = CurrentContext(ssl.PROTOCOL_TLS_SERVER)
        self.http2 = CurrentContext(ssl.PROTOCOL_TLS_SERVER)
        self._asked = asyncio.Event()
        self._apply()

    @classmethod
    def load(
        cls,
        cert: Path | None,
        key: Path | None,
        client_ca: Path | None,
        client_crl: Path | None = None,
        *,
        demands: bool = True,
    ) -> Tls | None:
        """Reads what the settings name; None where they name nothing.

        Args:
            cert: The server's.
            key: The certificate's.
            client_ca: Who signs the certificates of callers.
            client_crl: Which of those were revoked.
            demands: Whether a caller has to show one, where there is an authority; otherwise it may.

        Raises:
            TlsUnusable: A file is missing or unreadable, or the key does not belong to the certificate.
        """
        if cert is None and key is None and client_ca is None and client_crl is None:
            return None
        if cert is None or key is None:
            raise TlsUnusable(
                "TLS needs a certificate and its key: set JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY"
            )
        if client_crl is not None and client_ca is None:
            raise TlsUnusable(
                "JOBQUEUE_TLS_CLIENT_CRL is for certificates of JOBQUEUE_TLS_CLIENT_CA: set that"
            )
        return cls(_Files(cert, key, client_ca, client_crl, demands))

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """The key and the certificate of now, for a gRPC server that brings its own TLS."""
        return self._loaded.key, self._loaded.certificate

    @property
    def client_ca(self) -> bytes | None:
        """The authority of callers of now, likewise."""
        return self._loaded.client_ca

    @property
    def not_after(self) -> float:
        """When the server's certificate ends, in seconds since 1970."""
        return self._loaded.not_after

    async def reload(self) -> None:
        """Reads the files again if one has changed. Those that can't be used are passed over, which is logged once."""
        stamps = self._files.stamps()
        if stamps == self._stamps:
            return
        # First: what changes while it is read is read again the next time.
        self._stamps = stamps
        try:
            # In a thread, since lists may be long.
            self._loaded = await asyncio.to_thread(_load, self._files)
        except TlsUnusable as error:
            _log.error("new TLS files can't be used; those of before stay", cause=str(error))
            return
        self._apply()
        _log.info("new TLS files are in use", certificate=str(self._files.cert))

    def _apply(self) -> None:
        self.http1.inner, self.http2.inner = self._loaded.http1, self._loaded.http2
        if self.revoked is not None:
            self.revoked.replace(self._loaded.revoked)

    def look(self) -> None:
        """Has `watch` look at once, as on SIGHUP."""
        self._asked.set()

    async def watch(self) -> None:
        """Looks at the files every few seconds, and when it is asked to, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(EVERY):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            await self.reload()


def tls_of(settings: Settings) -> Tls | None:
    """What the settings name; None where they name nothing.

    Raises:
        TlsUnusable: Something is missing, unreadable, or does not fit.
    """
    return Tls.load(
        settings.tls_cert,
        settings.tls_key,
        settings.tls_client_ca,
        settings.tls_client_crl,
        # Beside other ways to show who one is a certificate is asked for.
        demands="mtls" not in settings.auth or settings.auth == ("mtls",),
    )


def revoked_of(tls: Tls | None) -> RevokedCertificates | None:
    """The certificates of callers that were revoked; None: there is no list of them."""
    return None if tls is None else tls.revoked


def watching(tls: Tls | None, metrics: Metrics) -> dict[str, Callable[[], Awaitable[None]]]:
    """What runs all the time for TLS. Metrics tell when its certificate ends."""
    if tls is None:
        return {}
    metrics.watch_certificate(lambda: tls.not_after)
    return {"tls": tls.watch}


def _load(files: _Files) -> _Loaded:
    certificate = _read(files.cert, "JOBQUEUE_TLS_CERT")
    key = _read(files.key, "JOBQUEUE_TLS_KEY")
    client_ca = None if files.client_ca is None else _read(files.client_ca, "JOBQUEUE_TLS_CLIENT_CA")
    revoked: Mapping[bytes, frozenset[int]] = {}
    if files.client_crl is not None:
        crl = _read(files.client_crl, "JOBQUEUE_TLS_CLIENT_CRL")
        _check_crl(files.client_crl, crl)
        revoked = _revoked(files.client_crl, crl)
    return _Loaded(
        _context("http/1.1", files),
        _context("h2", files),
        certificate,
        key,
        client_ca,
        not_after(certificate),
        revoked,
    )


def _context(protocol: str, files: _Files) -> ssl.SSLContext:
    """Speaks a protocol with the certificate; with a CA, to clients that show one of its certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = Handshake
    # gRPC's clients accept no older version either.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        # Without a password of its own OpenSSL would ask the terminal for one.
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise TlsUnusable(
            f"{files.cert} (JOBQUEUE_TLS_CERT) and {files.key} (JOBQUEUE_TLS_KEY) are no certificate and its "
            f"unencrypted key, as PEM: {error}"
        ) from None
    for path, setting, what in (
        (files.client_ca, "JOBQUEUE_TLS_CLIENT_CA", "certificate"),
        (files.client_crl, "JOBQUEUE_TLS_CLIENT_CRL", "list of revoked certificates"),
    ):
        if path is not None:
            try:
                context.load_verify_locations(path)
            except (ssl.SSLError, OSError) as error:
                raise TlsUnusable(f"{path} ({setting}) holds no {what} as PEM: {error}") from None
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if files.demands else ssl.CERT_OPTIONAL
    if files.client_crl is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _check_crl(path: Path, text: bytes) -> None:
    """OpenSSL would take a certificate in it for one more authority."""
    if _CRL not in text or _CERTIFICATE in text:
        raise TlsUnusable(
            f"{path} (JOBQUEUE_TLS_CLIENT_CRL) should hold lists of revoked certificates as PEM, and nothing else"
        )


def not_after(pem: bytes) -> float:
    """When the first certificate of a PEM file ends, in seconds since 1970; 0 where there is none."""
    found = _first_certificate(pem)
    return 0.0 if found is None else read_certificate(_der(found)).ends


def _revoked(path: Path, text: bytes) -> dict[bytes, frozenset[int]]:
    """The serial numbers in lists of revoked certificates, by their issuers."""
    found: dict[bytes, frozenset[int]] = {}
    try:
        for each in _lists(text):
            issuer, serials = read_revoked(_der(each))
            found[issuer] = found.get(issuer, frozenset()).union(serials)
    except (IndexError, ValueError) as error:
        raise TlsUnusable(
            f"{path} (JOBQUEUE_TLS_CLIENT_CRL) has a list that can't be read: {error}"
        ) from None
    return found


def _der(found: re.Match[bytes]) -> bytes:
    return a2b_base64(found.group(1))


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsUnusable(f"{path} can't be read: {error.strerror} (named by {setting})") from None
