"""Names that differ and look the same: refused where the second one stands, whichever came first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.manifests import Problems, Read

from lifecycle_as_code.manifest.bind import visible_form
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError

Errors = Callable[..., tuple[Diagnostic, ...]]


def models(*names: str) -> str:
    return "registered_models:\n" + "".join(f"  - {{name: {name!a}}}\n" for name in names).replace("'", '"')


ALIKE = [
    ("café", "cafe\u0301"),
    ("fraud", "fraud\u200b"),
    ("fraud\u200b", "fraud"),
    ("fr\u2066aud", "fra\u202eud"),
    ("fraud", "fraud\ufe0f"),
    ("fraud", "\uff46raud"),
    ("ﬁt", "fit"),
    ("a\u00a0b", "a b"),
    ("ka\u3164do", "kado"),
    ("soft\u00adware", "software"),
    ("tag\U000e0041ged", "tagged"),
]


@pytest.mark.parametrize("names", ALIKE, ids=ascii)
def test_the_second_of_two_that_look_alike_is_refused(names: tuple[str, str], errors: Errors) -> None:
    (found,) = errors({"m.yaml": models(*names)})
    assert (found.code, str(found.at)) == ("look-alike", "m.yaml:3:5")
    assert "declared at m.yaml:2:5" in found.detail
    assert f"{names[1]!a} is not {names[0]!a}" in found.hint


@pytest.mark.parametrize(
    "names",
    [
        ("é", "è", "e"),
        ("fraud", "Fraud"),
        ("fraud-1", "fraud_1"),
        ("決済", "决済"),
        ("a b", "ab"),
        ("ß", "ss"),
    ],
    ids=ascii,
)
def test_names_that_can_be_told_apart_are_left_alone(names: tuple[str, ...], read: Read) -> None:
    assert len(read({"m.yaml": models(*names)}).desired.objects) == len(names)


def test_what_follows_from_a_parent_s_name_is_told_once(problems: Problems) -> None:
    item = "versions: [{version: 1, source: 's3://a/b'}]"
    text = f'registered_models:\n  - {{name: "é", {item}}}\n  - {{name: "e\\u0301", {item}}}\n'
    assert problems(text) == ["3:5 look-alike"]


def test_every_part_of_an_address_counts_and_only_within_its_kind(problems: Problems) -> None:
    grants = [
        f'{{role: ann, resource_type: registered_model, resource: "{name}", level: READ}}'
        for name in ("é", "e\\u0301")
    ]
    assert problems(f"permissions:\n  - {grants[0]}\n  - {grants[1]}\n") == ["3:5 look-alike"]


def test_kinds_have_names_of_their_own(read: Read) -> None:
    text = 'registered_models: [{name: "é"}]\nserving_endpoints: [{name: "e\\u0301", served_entities: []}]\n'
    with pytest.raises(LacError) as caught:
        read({"m.yaml": text})
    assert "look-alike" not in str(caught.value)


def test_what_is_seen_of_a_text() -> None:
    assert visible_form("plain\x07") == "plain\x07"
    assert visible_form("\u202epay\u200dments\u2800") == "payments"
