"""What the transport tells handlers by an exception."""

from __future__ import annotations


class PeerGone(Exception):
    """The caller has gone: an answer can't be sent."""


class MessageUnreadable(Exception):
    """A message that came is none that its deserializer takes.

    Attributes:
        error: What the deserializer raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(f"the message can't be read: {error}")
        self.error = error


class MessageTooLarge(Exception):
    """A message that came is over the server's limit. Its text says how large it is, and what the most is."""
