"""What counts as a word, in scripts with spaces and in scripts without."""

from __future__ import annotations

import re

# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces: there each character counts as a word, as
# word processors do it.
_UNSPACED = (
    r"\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# For counting: nothing but space is left over, so that no count is below the number of pieces between spaces.
_COUNTED = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
# For comparing: letters and digits, joined by apostrophes and hyphens.
_COMPARED = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’-][^\W{_UNSPACED}]+)*")


def count_words(text: str) -> int:
    """How many words `text` has."""
    return sum(1 for _ in _COUNTED.finditer(text))


def split_words(text: str) -> list[str]:
    """The words of `text` without punctuation."""
    return _COMPARED.findall(text)


def first_words(text: str, count: int) -> str:
    """The beginning of `text`, of at most `count` words; an ellipsis follows where something was left out."""
    end = 0
    for number, match in enumerate(_COUNTED.finditer(text)):
        if number == count:
            return text[:end] + "…"
        end = match.end()
    return text
