"""When a connection of HTTP/1.1 is read."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's, which reads on with each answer and each look at a body.

    Attributes:
        held: Whether nothing is read for now, whatever uvicorn says.
    """

    held = False

    def hold(self) -> None:
        """Reads nothing until `held` is taken back."""
        self.held = True
        self.pause_reading()

    def resume_reading(self) -> None:
        """Reads again, unless it is held."""
        if not self.held:
            super().resume_reading()
