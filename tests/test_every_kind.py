"""Asked of each kind in turn, so a new one is tested on the day it is registered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lifecycle_as_code.cli import run
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.base import SqlKind
from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.manifest.schema import manifest_schema
from lifecycle_as_code.manifest.write import write
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.spec import (
    Address,
    Derived,
    Immutable,
    Key,
    Part,
    Ref,
    Spec,
    Store,
    Trait,
    construct,
    find_fields,
    find_markers,
    key_fields,
    parse_address,
    plain,
)
from lifecycle_as_code.planning.guards import REFERENTS

SPECS: dict[str, type[Spec]] = {name: kind.spec for name, kind in KINDS.items()}

PROJECT = "name: payments\nauth_store: sqlite:///basic_auth.db\nserve: local\n"

every_kind = pytest.mark.parametrize("kind", SPECS)


def example(kind: str, directory: Path) -> Spec:
    """The one object that the example declares, read as any manifest is."""
    (directory / "lac.yaml").write_text(PROJECT)
    (directory / "example.yaml").write_text(SPECS[kind].example)
    manifest = load(directory, SPECS, environ={})
    (spec,) = manifest.desired.objects.values()
    return spec


def parts_of(annotation: Any) -> Iterator[type[Part]]:
    """The Parts that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    elif get_origin(annotation) in (Annotated, tuple, Union, UnionType):
        for inner in get_args(annotation):
            yield from parts_of(inner)


def with_parts(part: type[Part]) -> Iterator[type[Part]]:
    yield part
    for field in part.model_fields.values():
        for inner in parts_of(field.annotation):
            yield from with_parts(inner)


def test_kinds_sections_and_classes_have_names_of_their_own() -> None:
    assert list(SPECS) == [spec.kind for spec in SPECS.values()]
    assert len({spec.section for spec in SPECS.values()}) == len(SPECS)
    assert len({spec.__name__ for spec in SPECS.values()}) == len(SPECS)


@every_kind
def test_every_kind_and_every_field_says_what_it_is_for(kind: str) -> None:
    for part in with_parts(SPECS[kind]):
        assert part.__dict__.get("__doc__"), f"add a docstring to {part.__name__}"
        hidden = find_fields(part, Derived)
        silent = [n for n, field in part.model_fields.items() if n not in hidden and not field.description]
        assert not silent, f"{part.__name__}: add a docstring under {silent}"


@every_kind
def test_every_kind_has_a_key_that_a_person_must_write(kind: str) -> None:
    spec = SPECS[kind]
    assert key_fields(spec)
    for name in key_fields(spec):
        assert spec.model_fields[name].is_required()


@every_kind
def test_every_key_has_a_type_that_an_address_can_hold(kind: str) -> None:
    """Addresses are text; only numbers are read back as something else."""
    for name in key_fields(SPECS[kind]):
        annotation = SPECS[kind].model_fields[name].annotation
        assert annotation in (str, int) or all(isinstance(value, str) for value in get_args(annotation))


@every_kind
def test_every_kind_refers_to_known_kinds_that_come_before_it(kind: str) -> None:
    earlier = list(SPECS)[: list(SPECS).index(kind)]
    for name, ref in find_markers(SPECS[kind], Ref):
        assert ref.kind in earlier or ref.kind in REFERENTS, f"{name} refers to {ref.kind}"
        if ref.kind in SPECS:
            assert len(ref.fields or (name,)) == len(key_fields(SPECS[ref.kind]))
        assert all(field in SPECS[kind].model_fields for field in ref.fields)


@every_kind
def test_a_reference_of_several_fields_follows_the_rename_of_each(kind: str) -> None:
    """What a field of the other's key refers to, the field that names it here must refer to too."""
    mine = find_markers(SPECS[kind], Ref)
    for _, ref in mine:
        for here, there in zip(ref.fields, key_fields(SPECS[ref.kind]) if ref.fields else (), strict=True):
            theirs = {
                r.kind for field, r in find_markers(SPECS[ref.kind], Ref) if field == there and not r.fields
            }
            assert theirs <= {r.kind for field, r in mine if field == here and not r.fields}, here


@every_kind
@pytest.mark.parametrize("moved", [name for name, spec in SPECS.items() if spec.movable])
def test_a_renamed_object_is_named_anew_by_all_that_refers_to_it(
    kind: str, moved: str, tmp_path: Path
) -> None:
    spec = example(kind, tmp_path)
    for before in {ref for ref in [spec.address, *spec.refs()] if ref.kind == moved}:
        after = Address(moved, ("renamed",))
        follower = spec.renamed(before, after)
        assert before not in [follower.address, *follower.refs()]
        assert after in [follower.address, *follower.refs()]
        assert follower.renamed(after, before) == spec
    assert spec.renamed(Address(moved, ("nobody",)), Address(moved, ("renamed",))) is spec


def test_every_trait_is_that_of_one_kind() -> None:
    assert sorted(spec.trait for spec in SPECS.values() if spec.trait) == sorted(Trait)


@every_kind
def test_a_grant_names_objects_by_their_kind_and_name(kind: str) -> None:
    """`Address(type, (name,))` is the object that a grant is on."""
    assert SPECS[kind].grantable in (None, kind)
    assert SPECS[kind].grantable is None or len(key_fields(SPECS[kind])) == 1


@every_kind
def test_only_kinds_whose_key_is_a_name_are_renamed(kind: str) -> None:
    assert not SPECS[kind].movable or len(key_fields(SPECS[kind])) == 1
    moves = isinstance(KINDS[kind], SqlKind) and type(KINDS[kind]).move is not SqlKind.move
    assert moves == SPECS[kind].movable


def test_what_runs_on_ray_stays_as_it_was_brought_up(tmp_path: Path) -> None:
    endpoint = example("serving_endpoint", tmp_path)
    assert (
        endpoint.renamed(Address("registered_model", ("fraud",)), Address("registered_model", ("x",)))
        is endpoint
    )


@every_kind
def test_every_reference_of_the_example_is_to_something_that_can_be(kind: str, tmp_path: Path) -> None:
    for address in example(kind, tmp_path).refs():
        assert address.kind in SPECS or address.kind in REFERENTS
        if address.kind in SPECS:
            assert parse_address(str(address), SPECS) == address


@every_kind
def test_every_nest_fits_both_sides(kind: str) -> None:
    spec = SPECS[kind]
    by_section = {cls.section: cls for cls in SPECS.values()}
    for nest in spec.nests:
        parent = by_section[nest.section]
        assert nest.field not in parent.model_fields
        assert {*nest.fills, *nest.constants, *(nest.map_to or ())} <= spec.model_fields.keys()
        assert set(nest.fills.values()) <= set(key_fields(parent))


@every_kind
def test_every_immutable_field_names_the_way_out(kind: str) -> None:
    for name, rule in find_markers(SPECS[kind], Immutable):
        assert len(rule.way_out) > 10, name


@every_kind
def test_the_example_writes_every_field_that_a_person_may(kind: str) -> None:
    (item,) = yaml.safe_load(SPECS[kind].example)[SPECS[kind].section]
    hidden = find_fields(SPECS[kind], Derived)
    assert item.keys() == SPECS[kind].model_fields.keys() - hidden


@every_kind
def test_an_editor_accepts_the_example_and_a_mistyped_field_is_refused(kind: str) -> None:
    manifest = yaml.safe_load(SPECS[kind].example)
    schema = manifest_schema(SPECS)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert not list(validator.iter_errors(manifest))
    manifest[SPECS[kind].section][0]["nmae"] = "fraud"
    assert list(validator.iter_errors(manifest))


@every_kind
def test_a_spec_outlives_json(kind: str, tmp_path: Path) -> None:
    """Plans and records are JSON: what was written there is read back as the same object."""
    spec = example(kind, tmp_path)
    read_back = construct(type(spec), json.loads(json.dumps(plain(spec))))
    assert read_back == spec
    assert type(read_back) is type(spec)
    assert not diff(read_back, spec)
    assert plain(read_back) == plain(spec)
    assert read_back.address == spec.address
    assert list(read_back.refs()) == list(spec.refs())


@every_kind
def test_an_older_record_with_a_field_that_nobody_knows_is_read(kind: str, tmp_path: Path) -> None:
    spec = example(kind, tmp_path)
    assert construct(type(spec), {**plain(spec), "retired_field": 1}) == spec


@every_kind
def test_what_is_written_as_yaml_is_read_back_the_same(kind: str, tmp_path: Path) -> None:
    spec = example(kind, tmp_path)
    (tmp_path / "example.yaml").write_text(write([spec], SPECS))
    assert load(tmp_path, SPECS, environ={}).desired.objects == {spec.address: spec}


@every_kind
def test_specs_cannot_be_changed(kind: str, tmp_path: Path) -> None:
    spec = example(kind, tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        setattr(spec, key_fields(type(spec))[0], "other")
    for name in spec.model_fields_set:
        assert not isinstance(getattr(spec, name), dict | list), f"anybody may change {name}"


@every_kind
def test_only_sql_objects_are_prepared_or_switched(kind: str) -> None:
    """Ray's have steps of their own."""
    if SPECS[kind].store is Store.SERVE:
        assert not SPECS[kind].prepared


odd = st.text(st.characters(exclude_categories=("Cs",)), min_size=1) | st.sampled_from(
    ["a/b", "%2F", "%", "a.b", "..", " ", "*", "@champion", "ü", "a%25b", "1"]
)


@every_kind
@given(st.data())
def test_an_address_is_read_back_however_odd_its_name(kind: str, data: st.DataObject) -> None:
    spec = SPECS[kind]
    numbers = [spec.model_fields[name].annotation is int for name in key_fields(spec)]
    key = tuple(data.draw(st.integers(0, 10**9) if number else odd) for number in numbers)
    address = Address(kind, key)
    assert parse_address(str(address), SPECS) == address


def test_no_two_objects_have_the_same_address_text() -> None:
    one, other = Address("model_alias", ("a/b", "c")), Address("model_alias", ("a", "b/c"))
    assert str(one) != str(other)
    assert Address("model_alias", ("a%2Fb", "c")).name != one.name


@every_kind
def test_the_schema_has_every_section_and_every_field(kind: str) -> None:
    schema = manifest_schema(SPECS)
    section = schema["properties"][SPECS[kind].section]
    assert section["description"]
    fields = schema["$defs"][kind]["properties"]
    hidden = find_fields(SPECS[kind], Derived)
    assert SPECS[kind].model_fields.keys() - hidden <= fields.keys()
    assert not hidden & fields.keys()
    assert set(schema["$defs"][kind]["required"]) >= {name for name, _ in find_markers(SPECS[kind], Key)}


@every_kind
def test_the_command_tells_about_the_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kinds"]) == 0
    assert kind in capsys.readouterr().out
    assert run(["kinds", kind]) == 0
    told = capsys.readouterr().out
    hidden = find_fields(SPECS[kind], Derived)
    assert SPECS[kind].section in told
    for name in SPECS[kind].model_fields.keys() - hidden:
        assert f"  {name}  " in told
    assert all(f"    {line}\n" in told for line in SPECS[kind].example.splitlines())
