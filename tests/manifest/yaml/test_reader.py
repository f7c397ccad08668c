"""YAML text to nodes: what is read, where it stands, and what is refused before it can do harm."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lifecycle_as_code.manifest.yaml.nodes import UNCLEAR, Map, Plain, Seq, scalar
from lifecycle_as_code.manifest.yaml.reader import parse
from lifecycle_as_code.manifest.yaml.report import Report
from lifecycle_as_code.manifest.yaml.text import MAX_BYTES


def nodes(text: str | bytes) -> tuple[Any, list[str]]:
    report = Report("m.yaml")
    node = parse(text.encode() if isinstance(text, str) else text, report)
    return node, [f"{p.at.line}:{p.at.column} {p.code}" for p in report.problems if p.at]


def plain_data(node: Any) -> Any:
    """Nodes as PyYAML's safe loader would give them: it takes some for text that we call doubtful."""
    if isinstance(node, Map):
        return {key: plain_data(value) for key, value in node.items()}
    if isinstance(node, Seq):
        return [plain_data(item) for item in node]
    if isinstance(node, Plain):
        return node.text if isinstance(yaml.safe_load(node.text), str) else node.value
    return node


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans(), st.sampled_from([yaml.SafeDumper, yaml.CSafeDumper]))
def test_it_agrees_with_pyyaml(value: Any, flow: bool, dumper: Any) -> None:
    text = yaml.dump(value, Dumper=dumper, default_flow_style=flow, allow_unicode=True)
    node, problems = nodes(text)
    assert not problems
    assert plain_data(node) == yaml.safe_load(text) == value


@given(st.text("0123456789+-._:eExobTZ tnyf~=<", max_size=12))
def test_a_string_is_one_to_pyyaml_too(text: str) -> None:
    loader = yaml.SafeLoader("")
    try:
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    finally:
        loader.dispose()
    if scalar(text) == text:
        assert tag == "tag:yaml.org,2002:str"


@given(st.binary(max_size=200) | st.text("[]{}&*!|>'\"%@`-?: \n\tab#,<", max_size=80).map(str.encode))
def test_whatever_the_bytes_it_ends_without_an_exception(data: bytes) -> None:
    nodes(data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.9", 0.9),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        *(
            (doubtful, UNCLEAR)
            for doubtful in ("no", "off", "y", "0755", "0o17", "0x1F", "1_000", "=", ".inf")
        ),
        ("12:30:00", UNCLEAR),
        ("2024-01-01", UNCLEAR),
        ("12345e6", 12345e6),
        ("1e999", UNCLEAR),
        ("0000123", UNCLEAR),
    ],
)
def test_an_unquoted_scalar_that_is_not_simply_text(text: str, value: Any) -> None:
    found = scalar(text)
    assert isinstance(found, Plain)
    assert found.value == value
    assert type(found.value) is type(value)


@pytest.mark.parametrize("text", ["fraud", "1.2.3", "v1", "10.0.0.1", "4f0c", "e5", "nope", "a b", "-"])
def test_an_unquoted_scalar_that_is_text_to_every_reader(text: str) -> None:
    assert scalar(text) == text


def test_every_value_knows_its_place() -> None:
    root, problems = nodes("# first\nmodels:\n  - name: fraud\n    tags: {team: 'risk'}\n")
    assert not problems
    model = root["models"][0]
    places = [
        root.place_of_key("models"),
        root["models"].place(0),
        model.place("name"),
        model.place_of_key("tags"),
        model["tags"].place("team"),
    ]
    assert [(mark.line, mark.column) for mark in places] == [(1, 0), (2, 4), (2, 10), (3, 4), (3, 17)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_declares_nothing(text: str) -> None:
    root, problems = nodes(text)
    assert plain_data(root) is None
    assert not problems


@pytest.mark.parametrize(
    "text", ["\ufeffa: b\n", "a: b\r\n", "a: b", "---\na: b\n...\n", "%YAML 1.2\n---\na: b\n"]
)
def test_what_editors_add_is_no_matter(text: str) -> None:
    assert nodes(text) == ({"a": "b"}, [])


def test_anchors_aliases_and_merges() -> None:
    root, problems = nodes(
        "base: &base {x: a, y: b}\n"
        "more: &more {y: c, z: d}\n"
        "one: {<<: *base, y: mine}\n"
        "two: {z: mine, <<: [*more, *base]}\n"
        "same: *base\n"
        "'<<': text\n"
    )
    assert not problems
    assert root["one"] == {"x": "a", "y": "mine"}
    assert root["two"] == {"x": "a", "y": "c", "z": "mine"}
    assert root["same"] == root["base"]
    assert root["<<"] == "text"
    assert root["two"].place("y").line == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ["3:1 duplicate-key"]),
        ("a: {b: 1, 'b': 2}\nc: {d: 1, d: 2}\n", ["1:11 duplicate-key", "2:11 duplicate-key"]),
        ("{<<: {a: b}, <<: {c: d}}", ["1:14 duplicate-key"]),
        ("<<: 3", ["1:1 bad-merge"]),
        ("? [a, b]\n: c\n", ["1:3 key-not-text"]),
        ("a: {{ var.x }}\n", ["1:5 key-not-text"]),
        ("a: !!python/object:os.system x", ["1:4 tag-refused"]),
        ("a: !!str 1.10\nb: !mine [c]\n", ["1:4 tag-refused", "2:4 tag-refused"]),
        ("a: b\n---\nc: d\n", ["2:1 several-documents"]),
        ("a: *b\n", ["1:4 unknown-alias"]),
        ("a: &b [*b]\n", ["1:8 alias-cycle"]),
        ("a: &b\n  <<: *b\n", ["2:7 alias-cycle"]),
        ("a: @champion", ["1:4 yaml-syntax"]),
        ("a: b: c", ["1:5 yaml-syntax"]),
        ("\ta: b", ["1:1 yaml-syntax"]),
        ("a:\n<<<<<<< HEAD\n  b: 3\n=======\n  b: 4\n>>>>>>> theirs\n", ["2:1 yaml-syntax"]),
        ("a: 'b", ["1:6 yaml-syntax"]),
        ("a: b\x00c: d", ["1:5 yaml-syntax"]),
        ("a: \x07", ["1:4 yaml-syntax"]),
    ],
)
def test_what_is_refused_and_where(text: str, expected: list[str]) -> None:
    assert nodes(text)[1] == expected


@pytest.mark.parametrize("data", [b"a: \xff\n", "a: b".encode("utf-16"), b"a: \xed\xa0\x80"])
def test_other_encodings_are_refused(data: bytes) -> None:
    assert nodes(data)[1][0].endswith("not-utf-8")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a: @champion", "value that starts with `@`"),
        ("\ta: b", "spaces, not tabs"),
        ("a: {{ var.x }}\n", 'quote a template: "{{ … }}"'),
        ("a: one: two", "contains `: `"),
        ("a:\n<<<<<<< HEAD\n  b: 3\n=======\n  b: 4\n>>>>>>> theirs\n", "remove git's markers"),
        ("a: {{ var.x }} y\n", 'quote a value with a template: "{{ … }}"'),
    ],
)
def test_a_syntax_error_shows_the_way_out(text: str, hint: str) -> None:
    report = Report("m.yaml")
    parse(text.encode(), report)
    assert any(hint in problem.hint for problem in report.problems)


def alias_bomb(line: str, first: str, lines: int = 40) -> str:
    return first + "".join(line.format(i, ",".join([f"*a{i - 1}"] * 9)) for i in range(1, lines))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[" * 100_000, "too-deep"),
        ("{a: " * 100_000, "too-deep"),
        ("- " * 100_000, "too-deep"),
        ("? " * 100_000, "too-deep"),
        ("".join(" " * i + "a:\n" for i in range(2_000)), "too-deep"),
        (alias_bomb("a{0}: &a{0} [{1}]\n", "a0: &a0 [x]\n"), "too-large"),
        (alias_bomb("a{0}: &a{0} {{<<: [{1}], k{0}: v}}\n", "a0: &a0 {k: v}\n", 4_000), "too-large"),
        (alias_bomb("a{0}: &a{0} {{b: [{1}]}}\n", "a0: &a0 {k: v}\n"), "too-large"),
        ("a: b\n" * 300_000, "more-problems"),
        ("#" * (MAX_BYTES + 1), "too-large"),
    ],
    ids=["lists", "mappings", "dashes", "keys", "indented", "aliases", "merges", "both", "twice", "size"],
)
def test_a_bomb_ends_quickly(text: str, code: str) -> None:
    began = time.process_time()
    problems = nodes(text)[1]
    assert problems[-1].endswith(code)
    assert time.process_time() - began < 2
