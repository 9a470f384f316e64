"""What keeps a cell from moving."""

from __future__ import annotations


class MoveRefused(Exception):
    """It can't go on. The text says what is wrong and what would help; nothing was changed that hurts."""


class TargetAway(MoveRefused):
    """The target can't be reached."""
