import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue import Discard
from jobqueue_worker.handlers.summarize_text import SummaryHandler
from jobqueue_worker.handlers.summary import summarize
from jobqueue_worker.handlers.words import count_words, first_words

STORY = """The harbour of Port Ellis was rebuilt after the storm of 1911. Old maps show three piers. Dr. Hale, who
led the work, wanted a harbour that no storm could close. The new harbour had one long pier of stone. Fishermen
complained about the noise. Some of them moved away, e.g. to the islands. When the next storm came the stone pier
held, and the harbour stayed open. It rained for a week. Since then every harbour on this coast has been built with a
pier of stone. Tourists like the lighthouse."""
GERMAN = """Der Hafen wurde nach dem Sturm neu gebaut. Die Leute kamen gern. Ein Sturm, der den Hafen schließt, sollte
nicht wiederkommen. Möwen schrien. Der neue Hafen hielt dem nächsten Sturm stand."""
JAPANESE = "港は嵐の後で再建された。人々は喜んだ。新しい港は次の嵐に耐えた。雨が降った。港は今も開いている。"


def test_the_most_telling_sentences_are_kept_word_for_word_and_in_order():
    summary = summarize(STORY, 40, "en")
    flat = " ".join(STORY.split())
    sentences = [s for s in flat.split(". ") if s in summary.text]
    assert "the harbour stayed open" in summary.text
    assert "It rained" not in summary.text
    assert sentences == sorted(sentences, key=flat.index)
    assert summary.words == count_words(summary.text) <= 40
    assert summary.sentences >= 2


@pytest.mark.parametrize(
    ("text", "language"), [(STORY, "en"), (GERMAN, "de-AT"), (JAPANESE, "ja"), (STORY, "xx"), (GERMAN, "cs")]
)
@pytest.mark.parametrize("max_words", [1, 2, 5, 13, 20, 50])
def test_max_words_is_never_passed(text, language, max_words):
    summary = summarize(text, max_words, language)
    assert 0 < count_words(summary.text) == summary.words <= max_words
    assert len(summary.text.split()) <= max_words


@given(st.text(max_size=400), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_max_words_is_never_passed_whatever_the_text(text, max_words):
    summary = summarize(text, max_words, "en")
    assert summary.words == count_words(summary.text) <= max_words
    assert len(summary.text.split()) <= max_words


@pytest.mark.parametrize("text", ["", " ", "Short.", "Two sentences. \n\n Here they are.", "日本語。"])
def test_a_text_that_is_short_enough_is_returned_as_it_is(text):
    assert summarize(text, 100, "en").text == text


def test_a_sentence_longer_than_the_summary_is_cut_and_shows_it():
    assert summarize("one two three four five six", 3, "en").text == "one two three…"


@pytest.mark.slow
def test_the_same_text_gives_the_same_summary_in_every_process():
    code = (
        "import sys; from jobqueue_worker.handlers.summary import summarize;"
        "sys.stdout.buffer.write(summarize(sys.stdin.buffer.read().decode(), 30, 'en').text.encode())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], input=STORY.encode(), capture_output=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert outputs == {summarize(STORY, 30, "en").text.encode()}


@pytest.mark.slow
def test_a_megabyte_takes_seconds_and_not_minutes():
    # Different words all along: the worst case of a method that compares each with each.
    text = " ".join(f"Sentence {n} tells of thing{n % 9000} and item{n % 7000} again." for n in range(20_000))
    started = time.monotonic()
    assert summarize(text[: 1 << 20], 50, "en").words <= 50
    assert time.monotonic() - started < 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("a b", 2),
        ("it's well-known", 2),
        ("- a", 2),
        ("日本語", 3),
        ("天気。", 2),
        ("the 日本 way", 4),
        ("ไทย", 3),
    ],
)
def test_words_are_counted_by_spaces_or_by_characters(text, words):
    assert count_words(text) == words
    assert first_words(text, words) == text


async def test_the_handler_answers_with_the_summary_and_its_size(attempt, cpu):
    output = await SummaryHandler(cpu)(attempt("summarize_text", text=STORY, max_words=30.0))
    assert output == {"summary": summarize(STORY, 30, "en").text, "words": output["words"], "sentences": 2}
    output = await SummaryHandler(cpu)(attempt("summarize_text", text=STORY * 3))
    assert 0 < output["words"] <= 100


@pytest.mark.parametrize(
    "payload",
    [
        *({}, {"text": None}, {"text": 1}, {"text": "x", "language": "english!"}),
        *({"text": "x", "max_words": wrong} for wrong in (0, -1, 1.5)),
    ],
)
async def test_a_payload_that_does_not_fit_ends_the_job(attempt, cpu, payload):
    with pytest.raises(Discard, match=r"payload\."):
        await SummaryHandler(cpu)(attempt("summarize_text", **payload))
