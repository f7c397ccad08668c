"""Text in parts is the text as a whole, and no part of a stop sequence is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle_as_code.serving.language.transcript import Stop, Transcript


def decode(tokens: list[int]) -> str:
    """Each byte is a token."""
    return bytes(tokens).decode(errors="replace")


@given(st.binary(max_size=30) | st.text(max_size=10).map(str.encode))
def test_the_parts_are_the_whole(data: bytes) -> None:
    transcript = Transcript(decode)
    assert "".join([*map(transcript.add, data), transcript.finish()]) == decode([*data])


def test_half_a_character_is_kept_back() -> None:
    transcript = Transcript(decode)
    assert [transcript.add(byte) for byte in "a€b".encode()] == ["a", "", "", "€", "b"]


def test_a_cut_character_comes_at_the_end() -> None:
    transcript = Transcript(decode)
    assert [transcript.add(byte) for byte in "€".encode()[:2]] == ["", ""]
    assert transcript.finish() == "�"


def test_a_word_after_a_prompt_keeps_its_space() -> None:
    words = ["good", "day", "to", "you"]
    transcript = Transcript(lambda tokens: " ".join(words[token] for token in tokens), [0, 1])
    assert [transcript.add(2), transcript.add(3)] == [" to", " you"]


@pytest.mark.parametrize(
    ("parts", "sequences", "shown"),
    [
        (["a", "b", "c"], [], ["a", "b", "c"]),
        (["one st", "op two"], ["stop"], ["one ", ""]),
        (["one st", "arted"], ["stop"], ["one ", "started"]),
        (["xstop"], ["stop", "x"], [""]),
        (["aab", "aac"], ["aabaac"], ["", ""]),
        (["aaa", "b"], ["aab"], ["a", ""]),
        (["END"], ["E", "EN"], [""]),
    ],
)
def test_what_may_be_a_stop_sequence_is_kept_back(
    parts: list[str], sequences: list[str], shown: list[str]
) -> None:
    stop = Stop(sequences)
    assert [stop.add(part) for part in parts] == shown


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_a_text_ends_where_the_first_stop_sequence_begins(
    text: str, sequences: list[str], data: st.DataObject
) -> None:
    stop, shown, rest = Stop(sequences), "", text
    while rest and not stop.reached:
        length = data.draw(st.integers(1, len(rest)))
        shown, rest = shown + stop.add(rest[:length]), rest[length:]
    shown += stop.finish()
    # of several that end together, the one that is complete first counts
    ends = [text.index(sequence) + len(sequence) for sequence in sequences if sequence in text]
    assert stop.reached == bool(ends)
    assert text.startswith(shown)
    assert not any(sequence in shown for sequence in sequences)
    if not ends:
        assert shown == text
