"""The sections about changes rather than objects: `policies:`, `waivers:`, `metrics:`, `teams:`.

They are read here, with every place; `review.policy` compiles the expressions. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from ...model.diagnostics import Diagnostic, Source
from ...model.evidence import Better, Direction
from ...model.pattern import matches
from ...model.policy import BUILTIN, Expression, Policy, PolicyWaiver, Rules, Team, bad_policy
from ...model.spec import Spec, parse_address
from ..convert import converter, read_part
from ..value_errors import REFUSED, bad_value
from ..yaml.nodes import Map, Mark, Seq, plain_data
from ..yaml.report import Report, guess, problem, quote
from .conditions import check_conditions, each
from .policy_shapes import MAX_EXPRESSIONS, MAX_POLICIES, MAX_TEXT, MAX_WAIVERS, NAME, RULES, TEAMS

_as_teams: Final = converter(Mapping[str, tuple[str, ...]])
_SECTIONS: Final = {
    "policies": ("policy", MAX_POLICIES),
    "waivers": ("waiver", MAX_WAIVERS),
    "metrics": ("metric", MAX_WAIVERS),
}
"""What an entry is called, and how many there may be."""


class RuleBook:
    """The rules of all files."""

    def __init__(self, specs: Mapping[str, type[Spec]]) -> None:
        self._specs = specs
        self._policies: dict[str, Policy] = {}
        self._waivers: list[PolicyWaiver] = []
        self._directions: list[Direction] = []
        self._teams: dict[str, Team] = {}
        self._names: dict[str, Source] = {}
        self._policy_refs: list[tuple[str, Source]] = []
        self._team_refs: list[tuple[str, Source]] = []
        self._environments: list[tuple[str, Source]] = []

    @property
    def rules(self) -> Rules:
        """All rules, in the order of the files."""
        return Rules(
            tuple(self._policies.values()),
            tuple(self._waivers),
            tuple(self._directions),
            tuple(self._teams.values()),
        )

    def section(self, name: str, items: Any, holder: Map, report: Report) -> None:
        """Read a section of rules."""
        if name == TEAMS:
            self._read_teams(items, holder, report)
            return
        if items.__class__ is not Seq:
            bad_value(items, holder, name, report, "a list", secret=False)
            return
        what, most = _SECTIONS[name]
        known = {"policies": self._policies, "waivers": self._waivers, "metrics": self._directions}[name]
        for index, node in enumerate(items):
            if len(known) >= most:
                mark = node.at if isinstance(node, Map) else items.at
                report.add("too-large", mark, f"More than {most:,} {name}.")
                return
            before = len(report.problems)
            values = read_part(node, RULES[name], what, items, index, report)
            # further problems would follow from these
            if len(report.problems) > before:
                continue
            match name:
                case "policies":
                    self._policy(node, values, report)
                case "waivers":
                    self._waiver(node, values, report)
                case _:
                    model = values.get("model", "*")
                    self._directions.append(Direction(values["name"], Better(values["better"]), model))

    def conflicts(self, environments: Collection[str]) -> Iterator[Diagnostic]:
        """Undefined names of policies, teams and environments. For use after all files are read."""
        for policy, at in self._policy_refs:
            if policy not in self._names:
                detail = f"There is no policy {quote(policy)}."
                yield problem("undefined-name", detail, guess(policy, self._names), at)
        for team, at in self._team_refs:
            if team not in self._teams:
                hint = guess(team, self._teams) or "declare it under `teams:`"
                yield problem("undefined-name", f"There is no team {quote(team)}.", hint, at)
        for pattern, at in self._environments:
            if not any(matches(name, pattern) for name in environments):
                hint = guess(pattern, environments)
                yield problem("unknown-environment", f"No environment matches {quote(pattern)}.", hint, at)

    def _policy(self, node: Map, values: Mapping[str, Any], report: Report) -> None:
        before = len(report.problems)
        name = values["name"]
        if not re.fullmatch(NAME, name):
            hint = "use letters, digits, `.`, `_` and `-`, at most 100 of them"
            report.add("bad-value", node.place("name"), f"{quote(name)} is not a valid policy name.", hint)
        elif name in self._names:
            detail = f"Policy {quote(name)} is already declared at {self._names[name]}."
            report.add("declared-twice", node.place("name"), detail, "rename one of them")
        self._names.setdefault(name, report.source(node.at))
        _length(node, "message", values, report)
        builtin = {key: values[key] for key in (*BUILTIN, "allow_unknown") if values.get(key) not in _UNSET}
        require = values.get("require", ())
        if not require and not any(name in builtin for name in BUILTIN):
            hint = f"add `require:`, or one of {', '.join(f'`{key}`' for key in BUILTIN)}"
            report.note(bad_policy(f"Policy {quote(name)} has no requirement.", hint, report.source(node.at)))
        if len(require) > MAX_EXPRESSIONS:
            detail = f"Policy {quote(name)} has {len(require)} expressions; the limit is {MAX_EXPRESSIONS}."
            report.add("too-large", node.place("require"), detail, "split the policy")
        self._settings(node, builtin, report)
        when = values.get("when", {})
        if when:
            check_conditions(node["when"], when, self._specs, report)
            self._environments += [
                (text, report.source(mark)) for text, mark in each(node["when"], "environment", when)
            ]
        if len(report.problems) > before:
            return
        self._policies[name] = Policy(
            name,
            when,
            tuple(_expression(text, node["require"].place(i), report) for i, text in enumerate(require)),
            plain_data(builtin),
            values.get("message", ""),
            values.get("level", "deny"),
            report.source(node.at),
        )

    def _settings(self, node: Map, builtin: Mapping[str, Any], report: Report) -> None:
        """Check the settings of built-in rules beyond their types."""
        soak, only = builtin.get("soak"), builtin.get("only")
        if soak is not None and not soak["hours"] > 0:
            report.add("bad-value", node["soak"].place("hours"), "`hours` must be greater than 0.")
        if only is not None:
            if not only.get("actors") and not only.get("teams"):
                detail = "`only` needs `actors` or `teams`."
                report.add("missing-field", node["only"].at, detail, "add one of them")
            for index, team in enumerate(only.get("teams", ())):
                self._team_refs.append((team, report.source(node["only"]["teams"].place(index))))

    def _waiver(self, node: Map, values: Mapping[str, Any], report: Report) -> None:
        before = len(report.problems)
        address = values["address"]
        self._policy_refs.append((values["policy"], report.source(node.place("policy"))))
        _length(node, "reason", values, report)
        if not values["reason"].strip():
            detail = "A waiver needs a reason."
            report.add("bad-value", node.place("reason"), detail, "write why the policy doesn't apply")
        if wrong := self._too_wide(address):
            report.add("bad-value", node.place("address"), *wrong)
        if len(report.problems) == before:
            reason, expires = values["reason"].strip(), values["expires"].isoformat()
            at = report.source(node.at)
            self._waivers.append(PolicyWaiver(values["policy"], address, reason, expires, at))

    def _too_wide(self, address: str) -> tuple[str, str] | None:
        """The error in a waiver's address, and a hint. A pattern must name more than a kind."""
        kind, dot, rest = address.partition(".")
        wild = any(mark in rest for mark in "*?[")
        if kind in self._specs and dot and wild:
            if re.sub(r"\[[^\]]*\]|[*?/]", "", rest):
                return None
            return f"{quote(address)} would apply to every {kind}.", "name the object"
        try:
            parse_address(address, self._specs)
        except ValueError as error:
            if any(mark in address for mark in "*?["):
                return f"{quote(address)} would apply to nearly every object.", "name the object"
            return f"{error}.", guess(kind, self._specs)
        return None

    def _read_teams(self, items: Any, holder: Map, report: Report) -> None:
        values = _as_teams(items, holder, TEAMS, report)
        if not isinstance(values, Mapping):
            return
        for name, actors in values.items():
            at = report.source(items.place_of_key(name))
            if name in self._teams:
                detail = f"Team {quote(name)} is already declared at {self._teams[name].at}."
                report.note(problem("declared-twice", detail, "remove one of them", at))
            elif actors is not REFUSED:
                self._teams[name] = Team(name, actors, at)


_UNSET: Final = (None, False, ())


def _expression(text: str, mark: Mark, report: Report) -> Expression:
    """An expression at its place, with its offset if it is written there verbatim."""
    line = report.text[mark.line][mark.column :] if mark.line < len(report.text) else ""
    quotes = line[:1] if line[:1] in ("'", '"') else ""
    is_verbatim = line.startswith(f"{quotes}{text}{quotes}")
    return Expression(text, report.source(mark), len(quotes) if is_verbatim else None)


def _length(node: Map, name: str, values: Mapping[str, Any], report: Report) -> None:
    if len(values.get(name, "")) > MAX_TEXT:
        report.add("bad-value", node.place(name), f"`{name}` has more than {MAX_TEXT:,} characters.")
