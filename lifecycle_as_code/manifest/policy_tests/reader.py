"""Read policy tests (`*.policytest.yaml`): plans of one change each, and the expected verdicts. Pure.

A test contains everything that a plan would know; no store is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from ...model.diagnostics import Source, refuse
from ...model.diff import diff
from ...model.evidence import Comparison, Dataset, Evidence, Metric, Run
from ...model.history import Actor
from ...model.plan import Action, Change, Plan
from ...model.review import Access, Impact, Review, Traffic
from ...model.signature import Signature, SignatureChange, SignatureClass
from ...model.spec import Address, Spec, Trait, key_fields, spec_with
from ..convert import read_fields, read_part
from ..value_errors import REFUSED, describe_error, read_address
from ..yaml.nodes import Map, Mark, Seq
from ..yaml.reader import parse
from ..yaml.report import Report, TooManyError, guess, quote
from ..yaml.text import START
from .shapes import Expected, PolicyTest, PolicyTests, SideCase

MAX_CASES: Final = 5_000


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """One test: the plan, the actor, the time, and each policy's expected verdict (`none`: it doesn't apply)
    with texts that its unmet requirements contain."""

    name: str
    plan: Plan
    actor: Actor
    now: datetime
    expected: Mapping[str, tuple[str, tuple[str, ...]]]
    at: Source


def read_policy_tests(
    data: bytes,
    file: str,
    specs: Mapping[str, type[Spec]],
    policies: Collection[str],
    *,
    stack: str,
    now: datetime,
) -> tuple[PolicyCase, ...]:
    """The tests in a file. LacError with every problem at its place. `policies`: the known names."""
    report = Report(file)
    cases: list[PolicyCase] = []
    try:
        root = parse(data, report)
        if root.__class__ is Map:
            cases = list(_cases(root, specs, policies, stack, now, report))
        elif not report.problems:
            report.add("not-a-mapping", START, "Policy tests belong under `tests:`.")
    except TooManyError:
        pass
    refuse(report.problems)
    return tuple(cases)


def _cases(
    root: Map,
    specs: Mapping[str, type[Spec]],
    policies: Collection[str],
    stack: str,
    now: datetime,
    report: Report,
) -> Iterator[PolicyCase]:
    if {"format_version", "changes"} <= root.keys():
        detail = "The file is a plan in JSON, which has neither an actor nor a time."
        report.add("bad-value", root.at, detail, "save the plan: lac plan -o FILE; lac policy test FILE")
        return
    values = read_part(root, PolicyTests, "file of tests", root, "tests", report)
    nodes = root.get("tests")
    if report.problems or not isinstance(nodes, Seq):
        return
    if not nodes:
        report.add("bad-value", nodes.at, "The list of tests is empty.", "add a test, or remove the file")
        return
    if len(nodes) > MAX_CASES:
        report.add("too-large", nodes.at, f"More than {MAX_CASES:,} tests.", "split the file")
        return
    for node, fields in zip(nodes, values["tests"], strict=True):
        try:
            case = PolicyTest.model_validate(fields)
        except ValidationError as error:
            _refuse_values(error, (), node.at, report)
            continue
        if not case.expect:
            detail = f"Test {quote(case.name)} expects no verdict."
            report.add("bad-value", node.place("expect"), detail, "add a policy and its verdict")
        for name in case.expect:
            if name not in policies:
                mark, detail = node["expect"].place_of_key(name), f"There is no policy {quote(name)}."
                report.add("undefined-name", mark, detail, guess(name, policies))
        result = _Builder(node, case, specs, report).plan(stack, now)
        if result is not None:
            yield result


class _Builder:
    """One test as a plan."""

    def __init__(self, node: Map, case: PolicyTest, specs: Mapping[str, type[Spec]], report: Report) -> None:
        self._node, self._case, self._specs, self._report = node, case, specs, report

    def plan(self, stack: str, now: datetime) -> PolicyCase | None:
        """The test; None if a problem was reported."""
        case = self._case
        moment = datetime(case.now.year, case.now.month, case.now.day, tzinfo=UTC) if case.now else now
        address = self._address(case.change.address, self._node["change"], "address")
        if address is None:
            return None
        before = self._spec(address, "before", case.change.before, case.before)
        after = self._spec(address, "after", case.change.after, case.after)
        if before is REFUSED or after is REFUSED:
            return None
        if before is None and after is None:
            detail = "The change has neither `before` nor `after`."
            self._report.add("missing-field", self._node["change"].at, detail, "add one of them")
            return None
        at = self._report.source(self._node.at)
        change = _change(address, before, after, at)
        review = Review(self._evidence(change, moment), self._impacts(address))
        plan = Plan(stack, case.environment, (change,), (), mode=case.mode, review=review)
        actor = Actor(**case.actor.model_dump())
        expected = {
            name: (verdict.outcome, verdict.failed) if isinstance(verdict, Expected) else (verdict, ())
            for name, verdict in case.expect.items()
        }
        return PolicyCase(case.name, plan, actor, moment, expected, at)

    def _address(self, text: str, holder: Map, key: str) -> Address | None:
        return read_address(text, holder, key, self._specs, self._report)

    def _spec(
        self, address: Address, side: str, fields: Mapping[str, Any] | None, evidence: SideCase | None
    ) -> Any:
        """The object on one side. Without fields, its version is the evidence's."""
        if fields is None and evidence is None:
            return None
        kind = self._specs[address.kind]
        holder = self._node["change"]
        values: dict[str, Any] = dict(zip(key_fields(kind), address.key, strict=True))
        if fields is not None:
            # read again by the kind's own fields
            before = len(self._report.problems)
            values |= read_fields(holder[side], kind, kind.kind, self._report)
            if len(self._report.problems) > before:
                return REFUSED
        if evidence is not None and evidence.version and "version" in kind.model_fields:
            values.setdefault("version", evidence.version)
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            mark = holder[side].at if fields is not None else holder.at
            _refuse_values(error, (side,), mark, self._report)
            return REFUSED

    def _evidence(self, change: Change, now: datetime) -> tuple[Comparison, ...]:
        case = self._case
        if case.before is None and case.after is None:
            return ()
        model = str(getattr(change.before or change.after, "model", change.address.key[0]))
        sides = case.before, case.after
        before, after = (_evidence_of(model, side, now) if side else None for side in sides)
        verdict = SignatureClass.SAME if before and after else SignatureClass.NONE
        evidence = case.evidence
        signature = SignatureChange(
            evidence.signature or verdict, evidence.findings or evidence.breaking, evidence.breaking
        )
        # metrics are compared by the manifests' directions when the test runs
        return (Comparison(change.address, model, before, after, (), signature, case.entity),)

    def _impacts(self, address: Address) -> tuple[Impact, ...]:
        case = self._case
        kind = spec_with(Trait.ENDPOINT, self._specs).kind
        traffic = tuple(Traffic(Address(kind, (name,)), case.entity, moves=True) for name in case.endpoints)
        access: list[Access] = []
        for index, row in enumerate(case.access):
            resource = self._address(row.resource, self._node["access"][index], "resource")
            if resource is not None:
                access.append(Access(row.user, resource, row.before, row.after))
        return (Impact(address, traffic, (), tuple(access)),) if traffic or access else ()


def _refuse_values(error: ValidationError, above: tuple[str, ...], mark: Mark, report: Report) -> None:
    """Report pydantic's errors about a value below `above`."""
    for item in error.errors(include_url=False, include_input=False):
        path = ".".join(map(str, (*above, *item["loc"])))
        if item["type"] == "missing":
            report.add("missing-field", mark, f"`{path}` is required.", "add it under `change`")
        else:
            report.add("bad-value", mark, describe_error(item, None, path, False))


def _change(address: Address, before: Spec | None, after: Spec | None, at: Source) -> Change:
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    fields = diff(before, after) if before is not None and after is not None else ()
    store = (after or before).store  # type: ignore[union-attr]  # there is one of them
    return Change(address, store, action, "a test", before, after, fields, at=at)


def _evidence_of(model: str, side: SideCase, now: datetime) -> Evidence:
    run = side.run
    return Evidence(
        model,
        side.version,
        side.source,
        None
        if run is None
        else Run(run.id, run.name, run.experiment, run.status, run.user, run.commit, deleted=run.deleted),
        tuple(Metric(name, value) for name, value in side.metrics.items()),
        side.params,
        tuple(Dataset(name, "") for name in side.datasets),
        side.tags,
        side.aliases,
        side.flavors,
        side.python,
        side.mlflow,
        side.size,
        Signature(),
        {"present": True, "missing": False, "unknown": None}[side.artifact],
        side.missing,
        {alias: round((now.timestamp() - hours * 3600) * 1000) for alias, hours in side.held_hours.items()},
    )
