"""What the doctor has to say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Grade(IntEnum):
    """How bad something is; the worst is the greatest."""

    OK = 0
    #: To be known. Nothing needs to be done.
    NOTE = 1
    #: It works now, and will not for ever, or loses what it need not.
    WARNING = 2
    #: It does not work, or may lose jobs.
    BROKEN = 3


#: The exit code for the worst grade.
EXIT_CODES = {Grade.OK: 0, Grade.NOTE: 0, Grade.WARNING: 1, Grade.BROKEN: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: What that is, in a word or two.
        grade: How bad it is.
        seen: What was seen.
        right: What would be right; empty where it is.
        do: What to do next; empty where there is nothing to do.
    """

    about: str
    grade: Grade
    seen: str
    right: str = ""
    do: str = ""


def worst(findings: Iterable[Finding]) -> Grade:
    """The grade of them all."""
    return max((finding.grade for finding in findings), default=Grade.OK)
