"""Guardrails: what is found in requests and answers, and that no cut of a stream hides it."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lifecycle_as_code.serving import llm
from lifecycle_as_code.serving.detection import (
    KEYWORDS,
    Keywords,
    Pattern,
    Rule,
    Scanner,
    find_personal_data,
    validate_pattern,
)
from lifecycle_as_code.serving.guardrails import CODE, Guardrails, refuse_request

PII = find_personal_data(block=False)
CARD = "4111 1111 1111 1111"
IBAN = "DE89 3704 0044 0532 0130 00"


def scan(rules: Sequence[Rule], *parts: str) -> tuple[str, str | None]:
    scanner = Scanner(rules)
    text = "".join([*map(scanner.feed, parts), scanner.finish()])
    return text, scanner.blocked


def chat(*contents: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content} for content in contents], **more}


# --- keywords


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("the secret plan", True),
        ("SECRET", True),
        ("a secret.", True),
        ("ｓｅｃｒｅｔ", True),
        ("se\u00adcret", True),
        ("se\u200bcr\u2060et", True),
        ("secretary", False),
        ("topsecret", False),
        ("secretä", False),
        ("äsecret", False),
        ("secret_plan", False),
        ("STRASSE", True),
        ("straße", True),
        ("cafe\u0301", True),
        ("café", True),
        ("cafe", False),
        ("top\tdog", True),
        ("top\u00a0dog", True),
        ("c++ is", True),
        ("c+", False),
        ("機密 文書", True),
    ],
)
def test_a_keyword_is_found_whole_in_any_case_and_form(text: str, is_found: bool) -> None:
    words = ["Secret", "straße", "café", "top dog", "C++", "機密"]
    assert scan([Keywords(words, block=True)], text)[1] == (KEYWORDS if is_found else None)


def test_a_masked_keyword_leaves_the_rest_as_it_was() -> None:
    rule = Keywords(["secret", "foo", "foo bar"], block=False)
    text = "Ünder ＳＥＣＲＥＴ, foo foo\u00a0bar foo barn — é"
    assert scan([rule], text) == ("Ünder <KEYWORD>, <KEYWORD> <KEYWORD> <KEYWORD> barn — é", None)


# --- personal data


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail ann.lee+x@mail.example.org!", "mail <EMAIL>!"),
        (f"card {CARD}.", "card <CREDIT_CARD>."),
        ("4111111111111111", "<CREDIT_CARD>"),
        ("3782-822463-10005", "<CREDIT_CARD>"),
        (f"1234 {CARD}", "1234 <CREDIT_CARD>"),
        (f"pay to {IBAN} today", "pay to <IBAN> today"),
        ("BE68 5390 0754 7034 THEN", "<IBAN> THEN"),
        ("gb82WEST12345698765432", "<IBAN>"),
        ("call +49 (0)30 901820 now", "call <PHONE> now"),
        ("+1-212-555-0123", "<PHONE>"),
        ("(212) 555-0123", "<PHONE>"),
        ("212.555.0123", "<PHONE>"),
        ("SSN 536-90-4399", "SSN <US_SSN>"),
        ("from 192.168.0.17:80", "from <IP>:80"),
        ("http://10.0.0.1/x", "http://<IP>/x"),
        ("fe80::1ff:fe23:4567:890a.", "<IP>."),
        ("::ffff:10.0.0.1", "<IP>"),
        ("größe@müller ann@example.de", "größe@müller <EMAIL>"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert scan(PII, text)[0] == masked.replace("<IP>", "<IP_ADDRESS>")


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "12345678901234567",
        "DE89 3704 0044 0532 0130 01",
        "version 1.2.3.4.5",
        "300.1.1.1",
        "at 12:30:45 sharp",
        "std::vector a::b::c",
        "000-12-3456",
        "x = a+12345678",
        "2024-10-11 10:12",
        "user@localhost",
        "the year 2024, 1,234,567 rows",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert scan(PII, text) == (text, None)


# --- patterns


def test_a_pattern_masks_by_its_name_or_blocks() -> None:
    rules = [Pattern("TICKET", r"ACME-\d{4,6}", block=False), Pattern("key", r"sk-[a-z0-9]{8,}", block=True)]
    assert scan(rules, "see ACME-12345.") == ("see <TICKET>.", None)
    assert scan(rules, "ACME-1234 sk-abcdefgh99") == ("<TICKET> ", "key")


def test_a_longer_match_than_its_rule_allows_is_masked_piece_by_piece() -> None:
    rule = Pattern("N", r"\d+", block=False, max_length=10)
    assert scan([rule], "x" + "1" * 25 + "y") == ("x<N><N><N>y", None)


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        ("", "it is empty"),
        ("x*", "it matches an empty text"),
        ("(", "missing"),
        ("(?=x)y", "RE2 has no look-around, back-references, conditions or atomic groups"),
        ("(?<!x)y", "RE2 has no look-around, back-references, conditions or atomic groups"),
        (r"(x)\1", "RE2 has no look-around, back-references, conditions or atomic groups"),
        ("a++b", ""),
        (r"a\C", r"`\C` may take a part of a character; write `.`"),
        ("y" * 1001, "it has more than 1000 characters"),
        ("(?:x{1000}){1000}", ""),
    ],
)
@pytest.mark.parametrize("has_re2", [True, False])
def test_a_pattern_that_can_not_be_used_is_refused_with_its_reason(
    regex: str, reason: str, has_re2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_re2:
        monkeypatch.setitem(sys.modules, "re2", None)
        if regex == "(?:x{1000}){1000}":
            return
    assert reason in (validate_pattern(regex) or "no reason")
    assert validate_pattern(regex)


@pytest.mark.parametrize("has_re2", [True, False])
@pytest.mark.parametrize(
    "regex",
    [
        *[r"\bfoo\b", r"\pL+x", r"\p{Greek}+", r"(?i)a|b", r"(?P<n>a)b", r"(?<n>a)b", r"a\\1"],
        *[r"[(?=]x", r"x\z", r"[]+]+x", r"\x{41}+"],
    ],
)
def test_a_pattern_of_res_syntax_is_fine(regex: str, has_re2: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_re2:
        monkeypatch.setitem(sys.modules, "re2", None)
    assert validate_pattern(regex) is None


def test_an_expression_that_would_take_forever_elsewhere_is_linear() -> None:
    # Python's own engine would not come back from either
    rules = [Pattern("bad", r"(?:a+)+b", block=True), Pattern("worse", r"(?:x|x?)+y", block=True), *PII]
    text = "a" * 20_000 + "x" * 20_000 + "1" * 20_000 + "4111 " * 4_000
    assert scan(rules, *[text[at : at + 2048] for at in range(0, len(text), 2048)])[1] is None


# --- however it is cut


RULES: list[Rule] = [
    Keywords(["secret", "top dog", "dog", "straße", "c++", "é"], block=False),
    Pattern("T", r"\bACME-\d{2,4}\b", block=False),
    Pattern("E", r"(?:foo|\Bbar|\b-x)\d*", block=False, max_length=9),
    Pattern("L", r"(?m)^line \d$", block=False, max_length=12),
    Pattern("I", r"(?i)Hello,? [a-z]+", block=False, max_length=16),
    *PII,
]
WORDS = [
    *[
        "secret",
        "Secr",
        "et",
        "top",
        "dog",
        "straße",
        "STRASSE",
        "c++",
        "e\u0301",
        "é",
        "\u200b",
        "\u00ad",
        "ｄｏｇ",
    ],
    *["ACME-", "123", "12345", "foo", "bar", "-x", "line 1", "\n", "hello, ", "HELLO", "ann"],
    *["ann@example.org", "@", ".", "com", CARD, IBAN, "DE89", "3704 0044", "+49 30 901820", "(212) 555-0123"],
    *[
        "536-90-4399",
        "10.0.0.1",
        "fe80::1",
        "::",
        ":",
        " ",
        " ",
        "-",
        "_",
        "x",
        "1",
        "🎉",
        "機密",
        "4111",
        "and",
    ],
]
texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=25).map("".join),
    st.text("aeo1+.-@: \u0301\u200bß", max_size=40),
    st.text(max_size=40),
)


# alone, for what one holds back hides what another lets through
RULE_SETS = [RULES, RULES[:1], RULES[1:5], PII, *([rule] for rule in RULES[1:])]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(texts)
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=30)))
    bounds = [0, *places, len(text)]
    return text, [text[a:b] for a, b in itertools.pairwise(bounds)]


@given(cuts())
@example((CARD, list(CARD)))
@example(("fe80::1.5", ["fe80::1.", "5"]))
@example(("a\u200bdog", ["a\u200b", "dog"]))
@example(("xbar", list("xbar")))
def test_a_stream_however_it_is_cut_gives_the_same_as_the_whole(case: tuple[str, list[str]]) -> None:
    text, parts = case
    for rules in RULE_SETS:
        whole = scan(rules, text)
        assert scan(rules, *parts) == whole
        assert scan(rules, *text) == whole


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 5))
def test_a_keyword_never_gets_through_whatever_the_cut(before: str, after: str, size: int) -> None:
    text = f"{before} secret {after}"
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    given_back, blocked = scan([Keywords(["secret"], block=True)], *parts)
    assert blocked == KEYWORDS
    assert text.startswith(given_back)
    assert "secret" not in given_back


def test_only_what_may_become_a_match_is_held_back() -> None:
    scanner = Scanner(RULES[:2] + RULES[5:])
    assert scanner.feed("Good morning to you, ") == "Good morning to you, "
    assert scanner.feed("my sec") == "my "
    assert scanner.feed("tion is ") == "section is "
    assert scanner.feed("4111 1111 is") == "4111 1111 "
    assert scanner.feed(" it. ACME") == "is it. "
    assert scanner.finish() == "ACME"


def test_a_pattern_that_may_begin_anywhere_holds_back_its_length() -> None:
    scanner = Scanner([Pattern("any", r".x{3}", block=False, max_length=4)])
    assert len(scanner.feed("a" * 100)) == 100 - 4 - 3


# --- requests and answers


def masking(side: str = "input") -> Guardrails:
    return Guardrails({side: {"pii": {"behavior": "MASK"}, "invalid_keywords": ["secret"]}})


@pytest.mark.parametrize(
    "payload",
    [
        chat("hello", "the secret"),
        chat([{"type": "text", "text": "the secret"}, {"type": "image_url", "image_url": {"url": "data:"}}]),
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"q": "secret"}'},
                        }
                    ],
                }
            ]
        },
        {"prompt": "the secret"},
        {"prompt": ["hello", "the secret"]},
        {"input": ["hello", "the secret"]},
        {"input": "secret", "model": "m"},
    ],
)
def test_a_keyword_blocks_a_request_wherever_it_stands(payload: dict[str, Any]) -> None:
    guard = masking()
    finding = guard.check_request(payload)
    assert finding.blocked == KEYWORDS
    assert guard.counts == {("input", KEYWORDS, "BLOCK"): 1}
    answer = refuse_request(finding)
    assert answer.status == 400
    assert json.loads(answer.body)["error_code"] == CODE
    assert b"secret" not in answer.body


def test_a_masked_request_is_a_copy_and_others_are_the_same_object() -> None:
    guard = masking()
    payload = chat("I am ann@example.org", [{"type": "text", "text": f"and pay by {CARD}"}], n=1)
    before = json.dumps(payload)
    finding = guard.check_request(payload)
    assert (finding.blocked, finding.masked) == (None, 2)
    assert finding.payload["messages"][0]["content"] == "I am <EMAIL>"
    assert finding.payload["messages"][1]["content"] == [{"type": "text", "text": "and pay by <CREDIT_CARD>"}]
    assert finding.payload["n"] == 1
    assert json.dumps(payload) == before
    assert guard.counts == {("input", "pii", "MASK"): 2}
    other = chat("nothing of that")
    assert guard.check_request(other).payload is other
    assert guard.check_answer(payload).payload is payload


@pytest.mark.parametrize(
    "payload", [{}, [], None, "text", {"messages": 5}, {"prompt": [1, 2]}, {"messages": [None]}]
)
def test_a_payload_of_another_shape_passes(payload: Any) -> None:
    assert masking().check_request(payload).payload is payload
    assert masking("output").check_answer(payload).payload is payload


def test_an_answers_texts_are_masked_and_its_log_probabilities_left_out() -> None:
    payload = {
        "choices": [
            {
                "message": {"content": "ask ann@example.org", "role": "assistant"},
                "logprobs": {"content": ["ann"]},
            },
            {"text": f"by {CARD}"},
        ],
        "usage": {"prompt_tokens": 1},
    }
    finding = masking("output").check_answer(payload)
    assert finding.masked == 2
    assert [choice.get("text") or choice["message"]["content"] for choice in finding.payload["choices"]] == [
        "ask <EMAIL>",
        "by <CREDIT_CARD>",
    ]
    assert "ann" not in json.dumps(finding.payload)


# --- streams


def delta(text: str | None = None, *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    content = {} if text is None else {"content": text}
    choice = {"index": index, "delta": {**content, **more}, "finish_reason": finish}
    return llm.event({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


def play(guard: Guardrails, events: Iterable[bytes]) -> tuple[list[Any], bool]:
    """The events that come out, and whether the source was closed."""
    is_closed = False

    async def source() -> AsyncIterator[bytes]:
        nonlocal is_closed
        try:
            for event in events:
                yield event
        finally:
            is_closed = True

    async def collect() -> tuple[list[bytes], bool]:
        # the loop's end closes it in any case
        return [event async for event in guard.watch(source())], is_closed

    out, was_closed = asyncio.run(collect())
    return [json.loads(e[5:]) if e != llm.DONE else "DONE" for e in out], was_closed


def contents(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events if event != "DONE" for choice in event["choices"]]
    return "".join(c["delta"].get("content") or "" for c in choices if c["index"] == index)


def reasons(events: list[Any]) -> list[str]:
    choices = [choice for event in events if event != "DONE" for choice in event["choices"]]
    return [c["finish_reason"] for c in choices if c["finish_reason"]]


def test_a_masked_stream_is_the_masked_answer() -> None:
    text = f"Write to ann@example.org or pay by {CARD}, thanks"
    events = [delta(role="assistant", content=""), *(delta(c) for c in text), delta(finish="stop"), llm.DONE]
    out, _ = play(masking("output"), events)
    assert contents(out) == "Write to <EMAIL> or pay by <CREDIT_CARD>, thanks"
    assert reasons(out) == ["stop"]
    assert out[0]["choices"][0]["delta"]["role"] == "assistant"
    assert out[-1] == "DONE"
    assert all(event["model"] == "m" for event in out[:-1])


def test_what_is_held_back_comes_before_the_reason_to_finish() -> None:
    out, _ = play(masking("output"), [delta("ann@exam"), delta("ple.org", finish="stop"), llm.DONE])
    assert contents(out) == "<EMAIL>"
    assert reasons(out) == ["stop"]
    out, _ = play(masking("output"), [delta("ann@example.org"), delta(finish="length")])
    assert [event["choices"][0]["finish_reason"] for event in out] == [None, "length"]
    assert contents(out) == "<EMAIL>"


def test_a_stream_that_is_cut_off_keeps_what_it_had() -> None:
    assert contents(play(masking("output"), [delta("hello there")])[0]) == "hello there"


def test_a_blocked_stream_ends_and_so_does_its_source() -> None:
    guard = masking("output")
    events = [delta("the se"), delta("cr"), delta("et is out"), delta("never"), llm.DONE]
    out, is_closed = play(guard, events)
    assert contents(out) == "the "
    assert reasons(out) == ["content_filter"]
    assert out[-1] == "DONE"
    assert out[-2]["guardrail"] == KEYWORDS
    assert is_closed
    assert guard.counts == {("output", KEYWORDS, "BLOCK"): 1}


def test_each_choice_has_a_text_of_its_own_and_all_end_with_one_that_is_blocked() -> None:
    events = [delta("sec"), delta("other", index=1), delta("ret ", index=1), delta("ond.")]
    assert contents(play(masking("output"), events)[0]) == "second."
    out, _ = play(masking("output"), [*events, delta(" secret ")])
    assert reasons(out) == ["content_filter", "content_filter"]
    assert contents(out, 1) == "otherret "


def test_the_arguments_of_tool_calls_are_checked_call_by_call() -> None:
    def call(number: int, arguments: str) -> bytes:
        return delta(tool_calls=[{"index": number, "function": {"arguments": arguments}}])

    events = [call(0, '{"to": "ann@'), call(1, '{"to": "ben@'), call(0, 'example.org"}'), call(1, 'x.org"}')]
    out, _ = play(masking("output"), [*events, delta(finish="tool_calls"), llm.DONE])
    arguments = ["", ""]
    for event in out[:-1]:
        for part in event["choices"][0]["delta"].get("tool_calls", []):
            arguments[part["index"]] += part["function"]["arguments"]
    assert arguments == ['{"to": "<EMAIL>"}', '{"to": "<EMAIL>"}']


def test_completions_and_usage_events_pass() -> None:
    def text(part: str, finish: str | None = None) -> bytes:
        return llm.event(
            {"object": "text_completion", "choices": [{"index": 0, "text": part, "finish_reason": finish}]}
        )

    usage = llm.event({"choices": [], "usage": {"prompt_tokens": 3}})
    out, _ = play(masking("output"), [text("to ann@"), text("x.org", "stop"), usage, llm.DONE])
    assert "".join(event["choices"][0]["text"] for event in out[:2]) == "to <EMAIL>"
    assert out[2:] == [{"choices": [], "usage": {"prompt_tokens": 3}}, "DONE"]


def test_events_may_come_in_any_parts() -> None:
    stream = b": hello\n\n" + delta("ann@x.org and").replace(b"\n", b"\r\n") + delta(finish="stop") + llm.DONE

    async def source() -> AsyncIterator[bytes]:
        for at in range(0, len(stream), 7):
            yield stream[at : at + 7]

    async def collect() -> bytes:
        return b"".join([event async for event in masking("output").watch(source())])

    out = asyncio.run(collect())
    assert b"<EMAIL> " in out
    assert b"ann@" not in out
    assert out.startswith(b": hello\n\n")


def test_without_rules_for_answers_a_stream_passes_as_it_is() -> None:
    events = [delta("ann@x.org"), b"anything"]

    async def collect() -> list[bytes]:
        async def source() -> AsyncIterator[bytes]:
            for event in events:
                yield event

        return [event async for event in masking("input").watch(source())]

    assert asyncio.run(collect()) == events


def test_log_probabilities_are_left_out_of_a_checked_stream() -> None:
    event = {
        "choices": [
            {"index": 0, "delta": {"content": "a secr"}, "logprobs": {"content": [{"token": "secr"}]}}
        ]
    }
    out, _ = play(masking("output"), [llm.event(event), delta("et!")])
    assert "secr" not in json.dumps(out)
