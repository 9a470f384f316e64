"""Shortens a text to its most telling sentences: pure work for a process of its own, without network.

Sentences are split by sentencex (rules for some 300 languages, inside its wheel) and rated by sumy's Luhn: how
densely the words that the text repeats stand together. Of sumy's methods it is the one whose time grows with the
text and not with its square, and it needs neither numpy nor the models that nltk downloads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sentencex  # type: ignore[import-untyped]
from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
from sumy.nlp.stemmers import Stemmer, null_stemmer
from sumy.summarizers.luhn import LuhnSummarizer
from sumy.utils import get_stop_words

from .words import count_words, first_words, split_words


@dataclass(frozen=True, slots=True)
class Summary:
    """A shortened text, and how long it is."""

    text: str
    words: int
    sentences: int


def summarize(text: str, max_words: int, language: str) -> Summary:
    """The most telling sentences of `text`, in their order, of at most `max_words` words together.

    A text that is short enough is returned as it is. Where no sentence fits, the beginning of the best one is
    taken. The same arguments give the same summary, everywhere.

    Args:
        text: Any text, of any length.
        max_words: At least 1.
        language: A language tag such as `en` or `pt-BR`. A language without word lists is judged by counting alone.
    """
    language = language.split("-")[0].lower()
    sentences = [line for part in sentencex.segment(language, text) if (line := _one_line(part))]
    words = count_words(text)
    if words <= max_words:
        return Summary(text, words, len(sentences))
    document = ObjectDocumentModel([Paragraph([Sentence(sentence, _WORDS) for sentence in sentences])])
    chosen = _luhn(language)(document, _within(max_words))
    summary = first_words(_join(str(sentence) for sentence in chosen), max_words)
    return Summary(summary, count_words(summary), len(chosen))


class _Words:
    """The tokenizer that sumy asks for; its own would need downloaded models."""

    def to_words(self, sentence: str) -> tuple[str, ...]:
        return tuple(split_words(sentence))


_WORDS = _Words()


class _Luhn(LuhnSummarizer):  # type: ignore[misc]
    def _get_significant_words(self, words: Sequence[str]) -> frozenset[str]:
        # A set, since each word of the text is looked up in it: with sumy's tuple a megabyte takes minutes.
        return frozenset(super()._get_significant_words(words))


def _luhn(language: str) -> _Luhn:
    try:
        stemmer = Stemmer(language)
    except LookupError:
        stemmer = null_stemmer
    # Texts repeat their words, and stemming one costs more than all the rest.
    luhn = _Luhn(lru_cache(maxsize=None)(stemmer))
    try:
        luhn.stop_words = get_stop_words(language)
    except LookupError:
        luhn.stop_words = frozenset()
    return luhn


def _within(max_words: int) -> Callable[[Sequence[Any]], list[Any]]:
    """Chooses from the sentences, best first, those that fit; the best one if none does."""

    def choose(ranked: Sequence[Any]) -> list[Any]:
        left, chosen = max_words, []
        for entry in ranked:
            words = count_words(str(entry.sentence))
            if words <= left:
                chosen.append(entry)
                left -= words
        return chosen or list(ranked[:1])

    return choose


def _one_line(sentence: str) -> str:
    return " ".join(sentence.split())


def _join(sentences: Iterable[str]) -> str:
    # After a full stop of Chinese and Japanese there is no space.
    return re.sub(r"(?<=[。！？｡]) ", "", " ".join(sentences))
