"""Decides when a connection of HTTP/1.1 is read."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's flow control, which resumes reading at each answer and each read of a body, with a hold of our own.

    Attributes:
        held: Whether nothing is read for now, whatever uvicorn does.
    """

    held = False

    def hold(self) -> None:
        """Stops reading while `held` is set."""
        self.held = True
        self.pause_reading()

    def resume_reading(self) -> None:
        """Reads again, unless reading is held."""
        if not self.held:
            super().resume_reading()
