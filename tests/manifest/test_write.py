"""Specs to YAML that reads back as the same specs, however odd their texts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.odd_texts import ODD

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.manifest.format import format_text
from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.manifest.write import write
from lifecycle_as_code.model.spec import Address, Spec

SPECS = {name: kind.spec for name, kind in KINDS.items()}

FRAUD = RegisteredModel(name="fraud")
VERSION = ModelVersion(model="fraud", version=1, source="s3://models/1")
CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)


def read_back(text: str) -> dict[Address, Spec]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "lac.yaml").write_text("name: payments\nauth_store: sqlite:///auth.db\n")
        (path / "models.yaml").write_text(text, encoding="utf-8", newline="")
        return dict(load(path, SPECS, environ={}).desired.objects)


def the_same(*specs: Spec) -> str:
    """Asserts that the specs outlive being written; the text."""
    text = write(specs, SPECS)
    assert read_back(text) == {spec.address: spec for spec in specs}
    return text


@pytest.mark.parametrize("text", ODD, ids=[ascii(text)[:30] for text in ODD])
def test_an_odd_text_is_read_back_to_the_letter(text: str) -> None:
    the_same(RegisteredModel(name="fraud", description=text, tags={"key": text}))


@pytest.mark.parametrize("key", ["no", "1.10", "0755", "null", "a b", "a.b", "a/b", "Größe", "y"])
def test_an_odd_key_is_read_back_to_the_letter(key: str) -> None:
    the_same(RegisteredModel(name="fraud", tags={key: "x"}))


@pytest.mark.parametrize("key", ["k" * 250, "ü: " * 83], ids=["plain", "quoted"])
def test_a_long_key_is_as_fmt_writes_it(key: str) -> None:
    text = the_same(RegisteredModel(name="fraud", tags={key: "x"}))
    assert format_text(text) == text


texts = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40
) | st.sampled_from(ODD)
keys = st.text("abcYNo_-. /:0123456789e", min_size=1, max_size=8).filter(lambda key: key.strip() == key)


def valid(make: Any) -> Any:
    """A strategy of specs as MLflow takes them."""

    def made(**fields: Any) -> Spec | None:
        try:
            spec: Spec = make(**fields)
        except ValueError:
            return None
        return spec

    return made


models = st.builds(
    valid(RegisteredModel),
    name=texts,
    description=texts,
    tags=st.dictionaries(keys, texts, max_size=3),
).filter(bool)
experiments = st.builds(valid(Experiment), name=texts, description=texts).filter(bool)


@given(models)
def test_any_model_is_read_back_the_same(model: RegisteredModel) -> None:
    the_same(model)


@given(
    models, st.sets(st.integers(1, 4), min_size=1), texts, st.sampled_from(["champion", "no", "on", "v1x"])
)
def test_any_model_and_its_parts_are_read_back_the_same(
    model: RegisteredModel, numbers: set[int], text: str, alias: str
) -> None:
    versions = [
        ModelVersion(model=model.name, version=n, source=f"s3://models/{n}", description=text)
        for n in numbers
    ]
    pointer = ModelAlias(model=model.name, alias=alias, version=min(numbers))
    the_same(model, *versions, pointer)
    the_same(*versions, pointer)


@given(experiments)
def test_any_experiment_is_read_back_the_same(experiment: Experiment) -> None:
    the_same(experiment)


def test_parts_stand_under_their_parents_where_those_are_written_too() -> None:
    assert the_same(FRAUD, VERSION, CHAMPION) == (
        "registered_models:\n"
        "  - name: fraud\n"
        "    versions:\n"
        "      - version: 1\n"
        '        source: "s3://models/1"\n'
        "    aliases:\n"
        "      champion: 1\n"
    )


def test_parts_of_what_is_not_written_have_a_section_of_their_own() -> None:
    assert yaml.safe_load(the_same(CHAMPION)) == {
        "model_aliases": [{"model": "fraud", "alias": "champion", "version": 1}]
    }


def test_a_list_that_would_claim_a_scope_is_never_written() -> None:
    """Whoever takes one grant over doesn't say that there are no others."""
    grant = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")
    text = the_same(FRAUD, Role(name="analysts"), grant)
    assert yaml.safe_load(text)["registered_models"] == [{"name": "fraud"}]


def test_what_is_written_does_not_depend_on_the_order_that_it_came_in() -> None:
    other = RegisteredModel(name="churn")
    ten = VERSION.model_copy(update={"version": 10})
    specs = [FRAUD, other, VERSION, ten, CHAMPION]
    text = the_same(*specs)
    assert write(specs[::-1], SPECS) == text
    assert text.index("churn") < text.index("fraud")
    assert text.index("version: 1\n") < text.index("version: 10\n")


def test_empty_lines_at_the_end_of_a_text_do_not_end_the_document() -> None:
    the_same(VERSION.model_copy(update={"description": "two lines\n\n"}), CHAMPION)
