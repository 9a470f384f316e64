"""What the transport tells handlers by an exception."""

from __future__ import annotations


class PeerGone(Exception):
    """The caller has gone: nobody is there to be answered."""


class MessageTooLarge(Exception):
    """A message that came is over the server's limit. Its text says how large it is, and what the most is."""
