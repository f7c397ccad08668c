"""A plan as a file: read back as it was written, or refused. Pure; no file here was ever on a disk."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_kind import SPECS, every_kind, example

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError, Source
from lifecycle_as_code.model.diff import FieldChange, diff
from lifecycle_as_code.model.evidence import Comparison, MetricChange
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.plan import Action, Change, Mode, Override, Plan
from lifecycle_as_code.model.policy import Policy, Rules
from lifecycle_as_code.model.review import Review
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.ordering import build_steps, link_changes, sort_changes
from lifecycle_as_code.planning.planfile import (
    MAX_BYTES,
    Origin,
    _adapter,
    digest,
    dump,
    environment_of,
    load,
    same_store,
)

KEY = b"correct horse"
REFUSALS = {"plan-altered", "bad-plan-file", "other-plan-version"}
ORIGIN = Origin(
    "default",
    {"registry": {"id": "4f0c", "dialect": "sqlite", "address": "sqlite:///mlflow.db"}},
    "sha256:00",
    "2026-11-24T10:00:00+00:00",
    Actor("ann", "laptop", commit="0123abcd", remote="https://git.example/infra.git", dirty=True),
    "1.1",
)
ANOTHER = {
    "registered_model": {"description": "Scores transfers."},
    "model_version": {"description": "Trained in June."},
    "model_alias": {"version": 4},
    "experiment": {"description": "Runs by day."},
    "role": {"members": ("ann",)},
    "permission": {"level": "EDIT"},
    "serving_endpoint": {"description": "Scores transfers.", "tags": {"team": "shop", "tier": "gold"}},
}
"""By kind, what an update of the example may change."""

FRAUD = RegisteredModel(name="fraud", description="Scores card payments.", tags={"team": "risk"})
FIRST, SECOND = (ModelVersion(model="fraud", version=n, source=f"s3://fraud/{n}") for n in (1, 2))
CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)
PROMOTED = ModelAlias(model="fraud", alias="champion", version=2)
SHADOW = ModelAlias(model="fraud", alias="shadow", version=1)
RENAMED = RegisteredModel(name="payments")
ENDPOINT = ServingEndpoint(
    name="fraud",
    served_entities=(
        ServedEntity(name="champion", entity_name="fraud", entity_version=2, follows="@champion"),
    ),
)


def change(before: Spec | None, after: Spec | None, action: Action, **said: Any) -> Change:
    side = after or before or said.pop("of")
    fields = diff(before, after) if before is not None and after is not None else ()
    values = {"reason": "manifest changed", "fields": fields, **said}
    return Change(side.address, side.store, action, before=before, after=after, **values)


def plan_of(changes: Iterable[Change], mode: Mode = Mode.NORMAL, **said: Any) -> Plan:
    ordered = tuple(sort_changes(link_changes({c.address: c for c in changes})))
    return Plan("payments", "prod", ordered, build_steps(ordered), mode=mode, **said)


def each_action(spec: Spec) -> Iterator[Change]:
    """One change of each action that this object can have."""
    other = spec.model_copy(update=ANOTHER[spec.kind])
    at = Source("models/fraud.yaml", 3, 5)
    yield change(None, spec, Action.CREATE, reason="declared", at=at, protected=True)
    yield change(spec, other, Action.UPDATE, reason="changed outside", at=at)
    yield change(spec, None, Action.DELETE, reason="no longer declared")
    yield change(spec, spec, Action.RECORD, reason="already so", protected=True)
    yield change(None, None, Action.FORGET, reason="already gone", of=spec)
    if spec.movable:
        gone = Address(spec.kind, ("another",))
        yield change(spec, spec, Action.MOVE, reason=f"moved from {gone}", moved_from=gone)


SMALL = plan_of([change(CHAMPION, PROMOTED, Action.UPDATE)])
WHOLE = plan_of(
    [
        change(None, SECOND, Action.CREATE),
        change(CHAMPION, PROMOTED, Action.UPDATE),
        change(SHADOW, None, Action.DELETE),
        change(RENAMED, RENAMED, Action.MOVE, moved_from=Address("registered_model", ("pay",))),
        change(FRAUD, FRAUD, Action.RECORD, protected=True),
        change(None, ENDPOINT, Action.CREATE),
    ],
    diagnostics=(Diagnostic("webhooks", "webhooks won't fire", "Two.", "send them", severity="warning"),),
    allowed=(Override("mass-deletion", "11 of 12 of kind model_alias would be deleted."),),
)
FILE = dump(SMALL, ORIGIN)


def refused(data: bytes, codes: Iterable[str] = REFUSALS, key: bytes | None = None) -> Diagnostic:
    """It is refused with one of these codes, soon, and says nothing of what stands in the file."""
    began = time.process_time()
    with pytest.raises(LacError) as caught:
        load(data, SPECS, key)
    assert time.process_time() - began < 1
    (problem,) = caught.value.diagnostics
    assert problem.code in codes
    assert len(str(problem)) < 300
    assert "fraud" not in str(problem)
    return problem


# --- round trip


@every_kind
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("key", [None, KEY], ids=["digest", "signed"])
def test_every_change_of_every_kind_is_read_back_as_it_was(
    kind: str, mode: Mode, key: bytes | None, tmp_path: Path
) -> None:
    for each in each_action(example(kind, tmp_path)):
        made = plan_of([each], mode)
        saved = load(dump(made, ORIGIN, key), SPECS, key)
        assert saved.plan == made
        assert saved.origin == ORIGIN
        assert saved.digest == digest(made)
        assert saved.signed is (key is not None)


def test_a_refresh_only_plan_says_what_changed_outside() -> None:
    seen = FRAUD.model_copy(update={"description": "By hand."})
    noted = change(seen, seen, Action.RECORD, reason="changed outside")
    made = plan_of([replace(noted, fields=diff(FRAUD, seen))], Mode.REFRESH_ONLY)
    assert load(dump(made, ORIGIN), SPECS).plan == made


def test_a_plan_of_everything_is_read_back_with_its_steps_and_warnings() -> None:
    saved = load(dump(WHOLE, ORIGIN), SPECS)
    assert saved.plan == WHOLE
    assert len(saved.plan.steps) > 3


def test_equal_plans_make_equal_files() -> None:
    data = dump(WHOLE, ORIGIN)
    assert dump(load(data, SPECS).plan, ORIGIN) == data
    assert digest(WHOLE) != digest(SMALL)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(TEXTS, min_size=4, max_size=4), st.dictionaries(TEXTS, VALUES, max_size=3), NUMBERS, NUMBERS)
@settings(max_examples=60)
def test_any_word_number_and_value_is_read_back_and_written_the_same(
    words: list[str], values: dict[str, Any], before: float, after: float
) -> None:
    stack, environment, name, text = words
    metric = MetricChange(name, text, stack, before, after, better=None)
    review = Review(
        evidence=(Comparison(CHAMPION.address, name, None, None, (metric,)),),
        rules=Rules((Policy(name, values, message=text),)),
    )
    told = (Diagnostic(name, text, environment, at=Source(stack, 1, 2)),)
    made = replace(SMALL, stack=stack, environment=environment, diagnostics=told, review=review)
    data = dump(made, ORIGIN)
    saved = load(data, SPECS).plan
    assert saved == made
    assert dump(saved, ORIGIN) == data


def test_only_reading_a_plan_builds_what_reads_it() -> None:
    _adapter.cache_clear()
    dump(WHOLE, ORIGIN, KEY)
    assert not _adapter.cache_info().misses
    load(FILE, SPECS)
    assert _adapter.cache_info().misses == 1


def test_names_in_any_script_are_read_back() -> None:
    odd = RegisteredModel.model_construct(
        name="modèle \u202e 模型 \U0001f600 %", description='"\\\n\t\u0000\u2028'
    )
    made = plan_of([change(odd, None, Action.DELETE)])
    data = dump(made, ORIGIN)
    assert data.isascii()
    assert load(data, SPECS).plan == made


# --- any other bytes


def _flips(data: bytes) -> Iterator[bytes]:
    for place, byte in enumerate(data):
        for bit in (0, 5, 7):
            yield data[:place] + bytes([byte ^ (1 << bit)]) + data[place + 1 :]


def _deletions(data: bytes) -> Iterator[bytes]:
    return (data[:place] + data[place + 1 :] for place in range(len(data)))


def _insertions(data: bytes) -> Iterator[bytes]:
    return (
        data[:place] + extra + data[place:] for place in range(len(data) + 1) for extra in (b" ", b"0", b'"')
    )


def _truncations(data: bytes) -> Iterator[bytes]:
    return (data[:length] for length in range(len(data)))


def _longer(data: bytes) -> Iterator[bytes]:
    return (data + more for more in (b"\n", b" ", b"\0", b"{}", data))


BYTES: Sequence[Callable[[bytes], Iterator[bytes]]] = [_flips, _deletions, _insertions, _truncations, _longer]


@pytest.mark.parametrize("altered", BYTES, ids=lambda made: made.__name__.strip("_"))
@pytest.mark.parametrize("key", [None, KEY], ids=["digest", "signed"])
def test_a_file_with_other_bytes_is_refused(
    altered: Callable[[bytes], Iterator[bytes]], key: bytes | None
) -> None:
    codes = REFUSALS if key is None else {*REFUSALS, "plan-unsigned"}
    found = set()
    for data in altered(dump(SMALL, ORIGIN, key)):
        with pytest.raises(LacError) as caught:
            load(data, SPECS, key)
        found |= {problem.code for problem in caught.value.diagnostics}
    assert found
    assert found <= codes


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


STRANGE = {
    "nothing": b"",
    "not JSON": b"name: payments\n",
    "a list": b"[]",
    "a number": b"1",
    "another document": b'{"format": "something"}',
    "nested deeply": _nested(100_000),
    "nested deeply inside": b'{"format": "lac-plan", "format_version": "1.1", "plan": '
    + _nested(100_000)
    + b"}",
    "nested a little": b'{"format": "lac-plan", "format_version": "1.1", "seal": "", "plan": '
    + _nested(900)
    + b"}",
    "too long": b"[" + b" " * MAX_BYTES,
    "a byte order mark": b"\xef\xbb\xbf" + FILE,
    "UTF-16": FILE.decode().encode("utf-16"),
    "UTF-8 beyond ASCII": FILE.replace(b"ann", "änn".encode()),
    "NaN": FILE.replace(b'"version": 2', b'"version": NaN'),
    "Infinity": FILE.replace(b'"version": 2', b'"version": -Infinity'),
    "a float without end": FILE.replace(b'"version": 2', b'"version": 1e999'),
    "a huge integer": FILE.replace(b'"version": 2', b'"version": ' + b"9" * 5000),
    "a large integer": FILE.replace(b'"version": 2', b'"version": ' + b"9" * 4000),
    "a key twice": FILE.replace(b'"stack": ', b'"stack": "other",\n  "stack": '),
    "half of a character": FILE.replace(b'"payments"', rb'"\ud800"'),
    "a seal that isn't ASCII": FILE.replace(b"sha256:", rb"\u00e9:"),
    "a seal that is half of a character": FILE.replace(b"sha256:", rb"\udfff:"),
    "a seal that isn't text": FILE[: FILE.rindex(b'"sha256')] + b"[1]\n}\n",
    "no seal": FILE[: FILE.rindex(b',\n "seal"')] + b"\n}\n",
    "spaces": json.dumps(json.loads(FILE)).encode(),
    "Windows line ends": FILE.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE)
def test_what_is_no_plan_is_refused_at_once(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize("version", ["0.9", "1.0", "2.0", 1, None, ["fraud"], "fraud" * 50])
def test_another_format_version_is_refused(version: object) -> None:
    held = json.loads(FILE)
    problem = refused(sealed({**held, "format_version": version}), {"other-plan-version"})
    assert "this lac reads 1.1" in problem.detail


def test_a_plan_of_many_objects_is_read_and_refused_soon() -> None:
    many = [RegisteredModel(name=f"model-{n:05}", description="Text. " * 20) for n in range(2000)]
    data = dump(plan_of(change(None, spec, Action.CREATE) for spec in many), ORIGIN)
    assert len(load(data, SPECS).plan.changes) == 2000
    for place in range(0, len(data), len(data) // 20):
        refused(data[:place] + b"~" + data[place + 1 :])


# --- keys


@pytest.mark.parametrize(
    ("made_with", "read_with", "code"),
    [
        (KEY, b"another", "plan-altered"),
        (KEY, None, "plan-key-missing"),
        (None, KEY, "plan-unsigned"),
        (KEY, KEY[:-1], "plan-altered"),
    ],
    ids=["another key", "no key", "not signed", "a part of the key"],
)
def test_a_key_must_be_the_one_that_the_plan_was_made_with(
    made_with: bytes | None, read_with: bytes | None, code: str
) -> None:
    problem = refused(dump(SMALL, ORIGIN, made_with), {code}, read_with)
    assert problem.hint
    assert "horse" not in str(problem)
    if code == "plan-key-missing":
        assert "LAC_PLAN_KEY" in problem.hint


def test_with_a_key_nobody_without_it_makes_a_plan_however_consistent() -> None:
    data = sealed(promoted_elsewhere(json.loads(FILE)))
    assert load(data, SPECS).plan.changes[0].after == CHAMPION.model_copy(update={"version": 3})
    refused(data, {"plan-unsigned"}, KEY)
    refused(sealed(promoted_elsewhere(json.loads(FILE)), b"a guess"), {"plan-altered"}, KEY)


# --- altered, and sealed anew


def canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def sealed(held: dict[str, Any], key: bytes | None = None) -> bytes:
    """As whoever reads the source can seal a file that they have edited."""
    body = {name: value for name, value in held.items() if name != "seal"}
    if isinstance(body.get("plan"), dict):
        body["digest"] = f"sha256:{hashlib.sha256(canonical(body['plan'])).hexdigest()}"
    digested = hashlib.sha256(canonical(body)).hexdigest()
    signed = hmac.new(key or b"", canonical(body), hashlib.sha256).hexdigest()
    seal = f"hmac-sha256:{signed}" if key else f"sha256:{digested}"
    return (json.dumps({**body, "seal": seal}, indent=1) + "\n").encode()


def promoted_elsewhere(held: dict[str, Any]) -> dict[str, Any]:
    """The alias shall point at version 3, wherever the plan says where it shall point."""
    (promotion,) = held["plan"]["changes"]
    promotion["after"]["version"] = promotion["fields"][0]["after"] = 3
    return held


def test_sealing_anew_what_was_not_altered_gives_the_same_file() -> None:
    assert sealed(json.loads(FILE)) == FILE
    assert sealed(json.loads(FILE), KEY) == dump(SMALL, ORIGIN, KEY)


def test_without_a_key_an_edit_of_after_and_its_fields_with_a_new_digest_is_not_found_here() -> None:
    """The documented limit of a digest: the parts agree, and what the manifests say isn't in the file."""
    saved = load(sealed(promoted_elsewhere(json.loads(FILE))), SPECS)
    assert saved.plan.changes[0].after == ModelAlias(model="fraud", alias="champion", version=3)
    assert not saved.signed


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def edit(held: dict[str, Any]) -> None:
        inner: Any = held["plan"]
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = to

    return edit


def _swapped(held: dict[str, Any]) -> None:
    changes = held["plan"]["changes"]
    changes[0], changes[1] = changes[1], changes[0]


def _twice(held: dict[str, Any]) -> None:
    held["plan"]["changes"].append(held["plan"]["changes"][-1])


def _without_the_last(held: dict[str, Any]) -> None:
    held["plan"]["changes"].pop()


NAMES = [str(c.address) for c in WHOLE.changes]
MADE, ALIAS, GONE, MOVED, NOTED, SERVED = (
    NAMES.index(name)
    for name in (
        "model_version.fraud/2",
        "model_alias.fraud/champion",
        "model_alias.fraud/shadow",
        "registered_model.payments",
        "registered_model.fraud",
        "serving_endpoint.fraud",
    )
)
DISAGREEING = {
    "after alone": _set("changes", ALIAS, "after", "version", to=1),
    "before alone": _set("changes", ALIAS, "before", "version", to=7),
    "fields alone": _set("changes", ALIAS, "fields", 0, "after", to=9),
    "a field's path": _set("changes", ALIAS, "fields", 0, "path", to=["alias"]),
    "no fields": _set("changes", ALIAS, "fields", to=[]),
    "fields of a creation": _set("changes", MADE, "fields", to=[{"path": ["a"], "before": 1, "after": 2}]),
    "a number as text": _set("changes", MADE, "after", "version", to="2"),
    "a number as a float": _set("changes", ALIAS, "after", "version", to=2.0),
    "true for 1": _set("changes", GONE, "protected", to=1),
    "text for false": _set("changes", GONE, "protected", to="no"),
    "the order of changes": _swapped,
    "a change twice": _twice,
    "a change left out": _without_the_last,
    "waits for nothing": _set("changes", ALIAS, "waits_for", to=[]),
    "waits for another": _set("changes", GONE, "waits_for", to=["registered_model.payments"]),
    "no steps": _set("steps", to=[]),
    "another step first": _set("steps", 0, "phase", to="retire"),
    "a step without a change": _set("steps", 0, "changes", to=[]),
    "another store": _set("steps", 0, "store", to="auth"),
    "another summary": _set("summary", "delete", to=0),
    "another action": _set("changes", ALIAS, "action", to="create"),
    "a deletion that is an update": _set("changes", GONE, "action", to="update"),
    "a record that is a deletion": _set("changes", NOTED, "action", to="delete"),
    "a move that writes": _set("changes", MOVED, "after", "description", to="New."),
    "an unknown action": _set("changes", ALIAS, "action", to="replace"),
    "a creation with a before": _set(
        "changes", MADE, "before", to={"model": "fraud", "version": 2, "source": "s"}
    ),
    "a creation of nothing": _set("changes", MADE, "after", to=None),
    "another address": _set("changes", ALIAS, "address", to="model_alias.fraud/other"),
    "another kind": _set("changes", ALIAS, "kind", to="registered_model"),
    "an unknown kind": _set("changes", ALIAS, "address", to="dashboard.fraud"),
    "an unknown field": _set("changes", ALIAS, "after", "owner", to="ann"),
    "a field that no manifest may say": _set("changes", MADE, "after", "version", to=0),
    "a moved_from that is no address": _set("changes", MOVED, "moved_from", to="pay"),
    "a moved_from of another kind": _set("changes", MOVED, "moved_from", to="experiment.pay"),
    "a move from nowhere": _set("changes", MOVED, "moved_from", to=None),
    "a move from itself": _set("changes", MOVED, "moved_from", to="registered_model.payments"),
    "a deletion with another name until now": _set("changes", GONE, "moved_from", to="model_alias.fraud/old"),
    "another mode": _set("mode", to="fast"),
    "no guards": _set("guards", to={}),
    "a guard without its loss": _set("guards", 0, to={"guard": "protected"}),
    "half of a character": _set("changes", GONE, "reason", to="\ud800"),
    "more beside it": _set("approved", to=True),
    "more in the review": _set("review", "approved", to=True),
    "a review of another type": _set("review", "verdicts", to={}),
    "a policy without a name": _set("review", "rules", "policies", to=[{"level": "deny"}]),
    "a guard with more": _set("guards", 0, "by", to="ann"),
    "less in a warning": lambda held: held["plan"]["diagnostics"][0].pop("hint"),
    "more in a change": _set("changes", ALIAS, "approved", to=True),
}


@pytest.mark.parametrize("edit", DISAGREEING.values(), ids=DISAGREEING)
def test_parts_that_do_not_agree_are_found_though_the_digest_does(
    edit: Callable[[dict[str, Any]], None],
) -> None:
    held = json.loads(dump(WHOLE, ORIGIN))
    edit(held)
    refused(sealed(held), {"plan-altered", "bad-plan-file"})


def _leaves(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in inner:
        yield (*path, name)
        yield from _leaves(value, (*path, name))


ODD: Sequence[Any] = (None, True, -(10**40), "\ud800", ["a"], {"a": [None]})


def test_no_value_in_any_place_ends_in_anything_but_a_plan_or_a_refusal() -> None:
    whole = json.loads(dump(WHOLE, ORIGIN))
    accepted: set[str] = set()
    codes: set[str] = set()
    for path in list(_leaves(whole)):
        inner: Any = whole
        for part in path[:-1]:
            inner = inner[part]
        right = inner[path[-1]]
        for value in ODD:
            inner[path[-1]] = value
            try:
                load(sealed(whole), SPECS)
            except LacError as error:
                codes |= {problem.code for problem in error.diagnostics}
            else:
                if value != right:
                    accepted.add(".".join(str(part) for part in path if not isinstance(part, int)))
        inner[path[-1]] = right
    assert codes == REFUSALS
    accepted = {name for name in accepted if not name.startswith(("origin.", "plan.diagnostics"))}
    # the rest says the same in another place, is held against the stores, or is for people
    assert accepted - {"digest", "seal"} <= {
        "plan.stack",
        "plan.environment",
        "plan.changes.reason",
        "plan.changes.protected",
        "plan.changes.at",
        "plan.changes.at.file",
        "plan.guards",
        "plan.guards.guard",
        "plan.guards.detail",
        *(f"plan.changes.{side}.{name}" for side in ("before", "after") for name in ANYTHING),
    }


ANYTHING = (
    {name for spec in (FRAUD, FIRST, ENDPOINT) for name in type(spec).model_fields}
    | {f"served_entities.{name}" for name in ServedEntity.model_fields}
    | {"traffic_config.routes", "tags.team"}
)


# --- before anything is believed


@pytest.mark.parametrize(
    ("plan", "environment"),
    [({"environment": "prod"}, "prod"), ({"environment": ""}, None), ({"environment": 1}, None), ([], None)],
)
def test_the_environment_is_known_before_anything_is_believed(plan: object, environment: str | None) -> None:
    held = {"format": "lac-plan", "format_version": "1.1", "plan": plan}
    assert environment_of(json.dumps(held).encode()) == environment


SQLITE = {"id": "a", "dialect": "sqlite", "address": "sqlite:///mlflow.db"}


@pytest.mark.parametrize(
    ("planned", "here", "same"),
    [
        (SQLITE, SQLITE, True),
        (SQLITE, {**SQLITE, "address": "sqlite:////srv/mlflow.db"}, True),
        (SQLITE, {**SQLITE, "id": "b"}, False),
        (SQLITE, {**SQLITE, "id": ""}, False),
        ({**SQLITE, "id": ""}, SQLITE, True),
        ({**SQLITE, "id": ""}, {**SQLITE, "address": "sqlite:///other.db"}, False),
        ({**SQLITE, "id": ""}, {**SQLITE, "dialect": "postgresql"}, False),
        ({"address": "http://a"}, {"address": "http://a"}, True),
        ({"address": "http://a"}, {"address": "http://b"}, False),
        (SQLITE, None, False),
        (None, SQLITE, False),
        (None, None, True),
    ],
)
def test_a_store_is_known_by_its_id_and_without_one_by_its_address(
    planned: dict[str, str] | None, here: dict[str, str] | None, same: bool
) -> None:
    assert same_store(planned, here) is same


def test_a_file_says_no_more_of_a_change_than_the_plan_does() -> None:
    """FieldChange and Allowed are read back as such, not as lists."""
    saved = load(dump(WHOLE, ORIGIN), SPECS).plan
    assert all(isinstance(field, FieldChange) for c in saved.changes for field in c.fields)
    assert all(isinstance(verdict, Override) for verdict in saved.allowed)
