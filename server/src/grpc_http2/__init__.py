"""gRPC over HTTP/2 on asyncio: a server's side, for handlers made for `grpc.aio`. README.md says how to use it."""

from .call import Call, Cancellable
from .errors import MessageTooLarge, MessageUnreadable, PeerGone
from .fields import Metadata
from .limits import Limits
from .listen import listening_together
from .messages import TooLarge, raw
from .peer import PeerNames, names_of
from .server import Server

__all__ = [
    "Call",
    "Cancellable",
    "Limits",
    "MessageTooLarge",
    "MessageUnreadable",
    "Metadata",
    "PeerGone",
    "PeerNames",
    "Server",
    "TooLarge",
    "listening_together",
    "names_of",
    "raw",
]
