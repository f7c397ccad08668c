"""What a plan puts in whose place, and what is made of what was read: without a database."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lifecycle_as_code.engine.evidence import (
    number_of,
    replacements,
    tags_after,
    with_file,
    with_past,
)
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.base import Replacement
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.evidence import Evidence
from lifecycle_as_code.model.history import Line, since
from lifecycle_as_code.model.plan import Action, Change
from lifecycle_as_code.model.signature import Signature
from lifecycle_as_code.model.snapshot import Live, Observed
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stores.mlflow.artifacts import LARGEST, ReadFailure, out_of_reach, read_files
from lifecycle_as_code.stores.mlflow.mlmodel import MlModel

CHAMPION = Address("model_alias", ("fraud", "champion"))
ENDPOINT = Address("serving_endpoint", ("fraud",))


def version(number: int, model: str = "fraud") -> Address:
    return Address("model_version", (model, number))


def made(number: int, **said: Any) -> ModelVersion:
    return ModelVersion(model="fraud", version=number, source=f"/models/{number}", **said)


def alias(number: int) -> ModelAlias:
    return ModelAlias(model="fraud", alias="champion", version=number)


def endpoint(**entities: int | str) -> ServingEndpoint:
    """Each entity by the version of `fraud` behind it."""
    served = tuple(
        ServedEntity(name=name, entity_name="fraud", entity_version=number)
        for name, number in entities.items()
    )
    return ServingEndpoint.model_construct(name="fraud", served_entities=served)


def change(before: Spec | None, after: Spec | None, action: Action | None = None) -> Change:
    side = after or before
    assert side is not None
    followed = Action.DELETE if after is None else Action.UPDATE if before else Action.CREATE
    return Change(side.address, side.store, action or followed, "", before, after)


LIVE = Live(
    {
        version(1): Observed(made(1)),
        version(2): Observed(made(2)),
        version(3): Observed(made(3), tombstone=True),
        version(7): Observed(made(7)),
        version(4, "other"): Observed(made(4).model_copy(update={"model": "other"})),
    }
)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(change(None, alias(2)), [(None, 2)], id="an alias is made"),
        pytest.param(change(alias(1), alias(2)), [(1, 2)], id="an alias moves"),
        pytest.param(change(alias(1), None), [(1, None)], id="an alias is deleted"),
        pytest.param(change(alias(1), alias(1)), [], id="an alias stays where it is"),
        pytest.param(change(alias(1), alias(2), Action.RECORD), [], id="only our record catches up"),
        pytest.param(change(alias(1), None, Action.FORGET), [], id="only our record goes"),
        pytest.param(change(None, made(5)), [(2, 5)], id="a version: the highest that is there below it"),
        pytest.param(change(None, made(1)), [(None, 1)], id="a first version"),
        pytest.param(change(made(2), made(2, tags={"a": "b"})), [], id="a version gets a tag"),
        pytest.param(change(made(2), None), [], id="a version is deleted"),
    ],
)
def test_what_takes_whose_place(changed: Change, expected: list[tuple[int | None, int | None]]) -> None:
    assert list(replacements(KINDS, [changed], LIVE)) == [
        Replacement(changed.address, "", before and version(before), after and version(after))
        for before, after in expected
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, endpoint(a=1), [("a", None, 1)], id="an endpoint comes"),
        pytest.param(endpoint(a=1, b=2), None, [("a", 1, None), ("b", 2, None)], id="an endpoint goes"),
        pytest.param(endpoint(a=1, b=1), endpoint(a=1, b=2), [("b", 1, 2)], id="one entity moves"),
        pytest.param(
            endpoint(a=1), endpoint(b=2), [("b", None, 2), ("a", 1, None)], id="one comes, one goes"
        ),
        pytest.param(endpoint(a=1), endpoint(a="@champion"), [], id="an alias that nobody resolved"),
        pytest.param(endpoint(a=1), endpoint(a=1), [], id="something else about it changes"),
    ],
)
def test_served_entities_that_get_another_version(
    before: ServingEndpoint | None,
    after: ServingEndpoint | None,
    expected: list[tuple[str, int | None, int | None]],
) -> None:
    found = list(replacements(KINDS, [change(before, after)], LIVE))
    assert found == [
        Replacement(ENDPOINT, name, was and version(was), will and version(will))
        for name, was, will in expected
    ]


def test_an_entity_that_serves_another_model() -> None:
    other = ServedEntity(name="a", entity_name="other", entity_version=1)
    after = ServingEndpoint.model_construct(name="fraud", served_entities=(other,))
    (found,) = replacements(KINDS, [change(endpoint(a=1), after)], LIVE)
    assert (found.before, found.after) == (version(1), version(1, "other"))


def test_a_renamed_model_keeps_its_versions() -> None:
    origins = {version(number): version(number, "scam") for number in (1, 2, 3)}
    assert number_of(version(3), origins) == ("scam", 3)
    assert number_of(version(3, "other"), origins) == ("other", 3)
    running = ServedEntity(name="a", entity_name="scam", entity_version=1)
    before = ServingEndpoint.model_construct(name="fraud", served_entities=(running,))
    assert list(replacements(KINDS, [change(before, endpoint(a=1))], LIVE, origins)) == []
    (moved,) = replacements(KINDS, [change(before, endpoint(a=2))], LIVE, origins)
    assert (moved.before, moved.after) == (version(1, "scam"), version(2))


@pytest.mark.parametrize(
    ("tags", "before", "after", "expected"),
    [
        ({"a": "1", "theirs": "x"}, {"a": "1"}, {"a": "2"}, {"a": "2", "theirs": "x"}),
        ({"a": "1", "theirs": "x"}, {"a": "1"}, {}, {"theirs": "x"}),
        ({}, {}, {"a": "1"}, {"a": "1"}),
    ],
    ids=["set", "removed", "first"],
)
def test_tags_as_they_will_be(
    tags: dict[str, str], before: dict[str, str], after: dict[str, str], expected: dict[str, str]
) -> None:
    assert tags_after(tags, change(made(1, tags=before), made(1, tags=after))) == expected


# --- since when


def line(at_ms: int, action: str, before: int | None, after: int | None) -> Line:
    sides = [None if number is None else alias(number) for number in (before, after)]
    return Line(f"{at_ms}", 1, "any", CHAMPION, action, "", *sides, at_ms)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], None, id="never heard of"),
        pytest.param([line(1, "create", None, 3)], 1, id="made so"),
        pytest.param([line(1, "create", None, 2), line(2, "update", 2, 3)], 2, id="moved there"),
        pytest.param([line(1, "create", None, 3), line(2, "update", 3, 2)], None, id="moved away"),
        pytest.param(
            [line(1, "update", 2, 3), line(2, "update", 3, 2), line(3, "update", 2, 3)], 3, id="and back"
        ),
        pytest.param(
            [line(1, "create", None, 3), line(2, "update", 2, 3)], 2, id="moved outside, and put back"
        ),
        pytest.param([line(1, "create", None, 3), line(2, "create", None, 3)], 2, id="deleted outside"),
        pytest.param([line(1, "create", None, 3), line(2, "record", 3, 3)], 1, id="recorded again"),
        pytest.param([line(1, "record", None, 3)], 1, id="imported: not known before"),
        pytest.param(
            [line(1, "create", None, 3), line(2, "forget", 3, None), line(3, "record", None, 3)],
            1,
            id="forgotten by one stack, imported by another",
        ),
        pytest.param(
            [line(1, "create", None, 3), line(2, "forget", None, None), line(3, "record", None, 3)],
            3,
            id="it was gone",
        ),
        pytest.param([line(1, "create", None, 3), line(2, "delete", 3, None)], None, id="deleted"),
        pytest.param([line(2, "update", 2, 3), line(1, "create", None, 2)], 2, id="in any order"),
    ],
)
def test_since_when_a_version_holds_an_alias(lines: list[Line], expected: int | None) -> None:
    assert since(lines, alias(3)) == expected


def test_only_what_history_tells_has_a_time() -> None:
    known = Evidence("fraud", 3, aliases=("champion", "prod"))
    told = {CHAMPION: [line(5, "create", None, 3)]}
    assert with_past(ModelAlias, ("fraud", 3), known, told).since_ms == {"champion": 5}


# --- what MLmodel says

KNOWN = Evidence("fraud", 3, missing=("the run: the version doesn't name one",))
GONE = replace(KNOWN, artifact=False)


@pytest.mark.parametrize(
    ("known", "file", "artifact", "missing"),
    [
        pytest.param(KNOWN, None, None, ["the artifact: MLflow doesn't say where it is"], id="nowhere"),
        pytest.param(GONE, None, False, [], id="no such version"),
        pytest.param(
            KNOWN,
            ReadFailure("no such file", absent=True),
            False,
            ["the artifact: no MLmodel at s3://bucket/x"],
            id="absent",
        ),
        pytest.param(
            KNOWN,
            ReadFailure("TimeoutError"),
            None,
            ["the artifact: MLmodel at s3://bucket/x wasn't read (TimeoutError)"],
            id="not to be had",
        ),
        pytest.param(
            KNOWN,
            MlModel(problem="MLmodel isn't a mapping."),
            False,
            ["the artifact: at s3://bucket/x, MLmodel isn't a mapping."],
            id="no MLmodel at all",
        ),
        pytest.param(
            KNOWN,
            MlModel({"sklearn": "1.5"}),
            True,
            ["the signature: the model was logged without one"],
            id="no signature",
        ),
        pytest.param(
            KNOWN,
            MlModel({"sklearn": "1.5"}, problem="MLmodel has a signature that can't be read: so."),
            True,
            ["the signature: MLmodel has a signature that can't be read: so."],
            id="a bad signature",
        ),
        pytest.param(KNOWN, MlModel({"sklearn": "1.5"}, signature=Signature()), True, [], id="all there"),
    ],
)
def test_what_is_missing_is_told(
    known: Evidence, file: MlModel | ReadFailure | None, artifact: bool | None, missing: list[str]
) -> None:
    location = "s3://KEY:SECRET@bucket/x?sig=SECRET"
    found = with_file(known, location, file)
    assert found.artifact is artifact
    assert list(found.missing) == [*known.missing, *missing]
    assert "SECRET" not in str(found)


def test_what_the_file_says_is_carried_over() -> None:
    said = MlModel(
        MappingProxyType({"sklearn": "1.5"}), "3.11.7", "3.17.2", 12, signature=Signature(inputs=())
    )
    found = with_file(KNOWN, "/m", said)
    assert (found.flavors, found.python, found.mlflow, found.size) == (
        {"sklearn": "1.5"},
        "3.11.7",
        "3.17.2",
        12,
    )
    assert found.signature == Signature(inputs=())


# --- files on this machine


def read(*places: str, seconds: float = 5.0, **where: Any) -> dict[str, bytes | ReadFailure]:
    found = list(read_files(places, seconds=seconds, **where))
    assert len(found) == len({place for place, _ in found})
    return dict(found)


def test_local_files_are_read_by_path_and_by_uri(tmp_path: Path) -> None:
    model = tmp_path / "a b"
    model.mkdir()
    (model / "MLmodel").write_bytes(b"flavors: {}")
    encoded = f"file://{tmp_path}/a%20b"
    assert read(str(model), encoded, f"file://localhost{tmp_path}/a%20b") == dict.fromkeys(
        (str(model), encoded, f"file://localhost{tmp_path}/a%20b"), b"flavors: {}"
    )


def test_what_is_no_such_file_is_told_apart_from_what_cant_be_read(tmp_path: Path) -> None:
    for name in ("pipe", "folder", "large", "loop"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "MLmodel")
    (tmp_path / "folder" / "MLmodel").mkdir()
    (tmp_path / "loop" / "MLmodel").symlink_to("MLmodel")
    with (tmp_path / "large" / "MLmodel").open("wb") as file:
        file.truncate(LARGEST + 1)
    found = read(*(f"{tmp_path}/{name}" for name in ("none", "pipe", "folder", "large", "loop", "nul\0")))
    assert {place.rpartition("/")[2]: file for place, file in found.items()} == {
        "none": ReadFailure("no such file", absent=True),
        "pipe": ReadFailure("not a file", absent=True),
        "folder": ReadFailure("not a file", absent=True),
        "large": ReadFailure("it is too large"),
        "loop": ReadFailure(os.strerror(errno.ELOOP)),
        "nul\0": ReadFailure("ValueError"),
    }


def test_no_time_is_no_error(tmp_path: Path) -> None:
    assert read(str(tmp_path), seconds=0.0) == {str(tmp_path): ReadFailure("there was no answer within 0 s")}


# --- where we don't ask

SERVER = {"MLFLOW_TRACKING_URI": "https://mlflow.example:5000"}


@pytest.mark.parametrize(
    ("place", "root", "environ", "expected"),
    [
        ("http://evil.example/m", "s3://bucket", {}, "another host"),
        ("http://evil.example/m", "http://good.example/m", {}, "another host"),
        ("http://good.example:81/m", "http://good.example/m", {}, "another host"),
        ("http://good.example/m", "http://good.example/m", {}, ""),
        ("http://good.example@evil.example/m", "http://good.example/m", {}, "another host"),
        ("mlflow-artifacts://evil.example/m", "mlflow-artifacts:/", SERVER, "another host"),
        ("mlflow-artifacts://mlflow.example:5000/m", "mlflow-artifacts:/", SERVER, ""),
        ("http://mlflow.example:5000/m", "mlflow-artifacts:/", SERVER, "another host"),
        ("mlflow-artifacts:/m", "mlflow-artifacts:/", SERVER, ""),
        ("mlflow-artifacts:/m", "mlflow-artifacts:/", {}, "MLFLOW_TRACKING_URI"),
        ("mlflow-artifacts:/m", "", {"MLFLOW_TRACKING_URI": "sqlite:///x.db"}, "MLFLOW_TRACKING_URI"),
        ("http://good.example/m::http://evil.example/m", "http://good.example/m", {}, "can't be read"),
        ("http://KEY:SE/CR@host/m", "", {}, "can't be read"),
        ("http://[bad/m", "", {}, "can't be read"),
        ("strange:/m", "", {}, "no installed package reads `strange:`"),
    ],
)
def test_only_mlflows_own_hosts_are_asked(
    place: str, root: str, environ: Mapping[str, str], expected: str
) -> None:
    found = out_of_reach(place, root, environ)
    assert expected in found
    assert bool(expected) is bool(found)
