"""Comments of the .proto files as they read in the document."""

from __future__ import annotations

import re

_ERRORS = re.compile(r"\n*Errors:\n.*", re.DOTALL)


def flowing(text: str) -> str:
    """The same without the line ends that only keep lines short; those between paragraphs and points stay."""
    paragraphs = [re.sub(r"\s*\n(?! *- )\s*", " ", paragraph) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs)


def without_errors(text: str) -> str:
    """A method's comment without its list of errors, which stand at their statuses."""
    return _ERRORS.sub("", text).strip()


def first_sentence(text: str) -> tuple[str, str]:
    """A text's first sentence without its full stop, and the rest."""
    first, _, rest = flowing(text).partition(". ")
    return first.rstrip("."), rest.strip()
