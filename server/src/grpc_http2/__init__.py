"""gRPC over HTTP/2 on asyncio: a server's side, for handlers made for `grpc.aio`. README.md says how to use it."""

from .call import Call, Cancellable
from .der import CertificateFacts, read_certificate, read_revoked
from .errors import MessageTooLarge, MessageUnreadable, PeerGone
from .fields import Metadata
from .limits import Limits
from .listen import listening_together
from .messages import TooLarge, raw
from .peer import PeerCertificate, certificate_of
from .server import Server

__all__ = [
    "Call",
    "Cancellable",
    "CertificateFacts",
    "Limits",
    "MessageTooLarge",
    "MessageUnreadable",
    "Metadata",
    "PeerCertificate",
    "PeerGone",
    "Server",
    "TooLarge",
    "certificate_of",
    "listening_together",
    "raw",
    "read_certificate",
    "read_revoked",
]
