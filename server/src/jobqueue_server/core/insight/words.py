"""Numbers in sentences for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as `1 slot` or `2 slots`; `many` where the plural is not `one` and an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
