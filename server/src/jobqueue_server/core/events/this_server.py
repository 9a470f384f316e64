"""Which server this is among the others on its database."""

from __future__ import annotations


class ThisServer:
    """Told by its heartbeat.

    Attributes:
        id: This process in the table of servers; 0 before its first heartbeat.
        others: How many other servers live.
    """

    def __init__(self) -> None:
        self.id = 0
        self.others = 0

    def count(self) -> int:
        """How many servers live, this one among them."""
        return self.others + 1

    def registered(self, id: int) -> None:
        """It has a row."""
        self.id = id

    def counted(self, others: int) -> None:
        """So many others have one too."""
        self.others = others
