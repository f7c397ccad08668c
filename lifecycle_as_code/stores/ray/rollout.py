"""Roll endpoints out on Ray: warm up, undo, cut over, retire. Many endpoints at once, each failing alone.

What is new comes up in apps of its own and is probed there, beside what serves. The cut-over is one write of
the ingress: other weights take effect at once, and for another primary Ray starts replicas that hold it, and
stops the former ones only once those are ready.
Every phase reads the cluster afresh and can be repeated after a crash: it keeps what already exists. An undo
that fails because Ray doesn't answer raises, so that the caller records it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...model.diagnostics import Diagnostic, LacError
from .apps import AppConfig, ingress_name, owns, revision
from .client import Cluster
from .endpoint import Endpoint, LiveEndpoint, live_endpoints
from .llm import hosting_app
from .state import Application

DEPLOY_TIMEOUT = 600.0
"""Seconds until new apps must run. Long: a node may have to be started, and an environment installed."""
PROBE_TIMEOUT = 60.0
PROXY_TIMEOUT = 15.0
GONE_TIMEOUT = 180.0
_TIMES = 3
"""How often apps are put again after another deployer has removed them."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Move:
    """One endpoint from one form to another. No `after`: it goes."""

    name: str
    owner: str
    before: Endpoint | None
    after: Endpoint | None


@dataclass(frozen=True, slots=True)
class Edit:
    """What one endpoint needs of a merge."""

    put: Mapping[str, AppConfig] = field(default_factory=dict)
    remove: Iterable[str] = ()


Problems = dict[str, str | Diagnostic]
"""What went wrong, by endpoint: Ray's words, or a diagnostic of its own."""


def warm_up(cluster: Cluster, moves: Sequence[Move], tell: Tell) -> Problems:
    """Start new apps beside those that serve, without traffic. Failures are undone."""
    endpoints = live_endpoints(cluster.applications())
    problems = _remove_broken_apps(cluster, moves, endpoints, tell)
    problems |= deploy_edits(cluster, moves, problems, lambda move: _candidates(move, endpoints), tell)
    endpoints = live_endpoints(cluster.applications())
    problems |= deploy_edits(cluster, moves, problems, lambda move: _table(move, endpoints), tell)
    for move in _good(moves, problems):
        if problem := _probe_new(cluster, move, endpoints, tell):
            problems[move.name] = problem
    undo(cluster, [m for m in moves if m.name in problems], tell)
    return problems


def undo(cluster: Cluster, moves: Sequence[Move], tell: Tell) -> None:
    """Remove what `warm_up` made, and keep what serves as it was. LacError if Ray doesn't do it.

    If nothing ever served, everything is removed, also parts that an interrupted apply had made.
    """
    if not moves:
        return
    tell("")
    endpoints = live_endpoints(cluster.applications())
    put: dict[str, AppConfig] = {}
    remove: set[str] = set()
    for move in moves:
        here = endpoints.get(move.name)
        if here is None or move.after is None:
            continue
        if not owns(move.owner, here.owner):
            # the endpoint turned out to be another's; only the entities were made
            remove |= move.after.apps.keys()
            continue
        if not here.committed:
            remove |= set(here.names)
            continue
        before = move.before.apps if move.before else {}
        serving = here.entities.keys() - {*here.leftovers}
        put |= {
            app: hosting_app(move.owner, move.name, before[app])
            for app in serving & move.after.apps.keys() & before.keys()
        }
        put[ingress_name(move.name)] = here.ingress_without()
        remove |= move.after.apps.keys() & {*here.leftovers}
    owner = moves[0].owner
    # the table first: no app leaves while an ingress may still pick it
    cluster.merge(put, owner=owner)
    cluster.merge({}, remove, owner=owner)


def cut_over(cluster: Cluster, moves: Sequence[Move], tell: Tell) -> Problems:
    """Write the new weights, settings and notes at once, and read them back. Failures are reverted."""
    endpoints = live_endpoints(cluster.applications())
    configs = {
        move.name: move.after.ingress(endpoints[move.name].attempt if move.name in endpoints else 0)
        for move in moves
        if move.after is not None
    }

    def edit(move: Move) -> Edit:
        # the trial is over: its room is needed for the ingress' new replicas
        trial = {move.after.primary_app or ""} if move.after else set()
        here = endpoints.get(move.name)
        serving = here.committed.values() if here else ()
        return Edit({ingress_name(move.name): configs[move.name]}, trial - {*serving})

    problems = deploy_edits(cluster, moves, {}, edit, tell)
    for move in _good(moves, problems):
        tell(f"{move.name}: switching traffic")
        problem = cluster.probe(
            move.name,
            revision=revision(configs[move.name]),
            timeout=PROBE_TIMEOUT,
            pulse=lambda: tell(""),
        )
        if problem is not None:
            problems[move.name] = f"after {PROBE_TIMEOUT:.0f} s, {problem}"
    former = {
        ingress_name(name): here.ingress.config
        for name in problems
        if (here := endpoints.get(name))
        and here.ingress
        and here.ingress.config
        and owns(moves[0].owner, here.owner)
    }
    if former:
        cluster.merge(former, owner=moves[0].owner)
    return problems


def retire(cluster: Cluster, moves: Sequence[Move], tell: Tell) -> Problems:
    """Remove what no longer serves, and scale the rest to its final number of replicas."""
    endpoints = live_endpoints(cluster.applications())
    edits = {move.name: _retirement(move, endpoints.get(move.name)) for move in moves}
    # replicas that leave still send requests to the entities that they know
    cluster.drain(map(ingress_name, edits), GONE_TIMEOUT, lambda: tell(""))
    problems = _merge(cluster, moves, {}, lambda move: edits[move.name])
    leaving = {app: move for move in _good(moves, problems) for app in edits[move.name].remove}
    for app, move in leaving.items():
        tell(f"{move.name}: {app} is being removed")
    for app in cluster.gone(leaving, GONE_TIMEOUT, lambda: tell("")):
        problems[leaving[app].name] = f"{app} still exists after {GONE_TIMEOUT:.0f} s"
    return problems


def _good(moves: Sequence[Move], problems: Mapping[str, object]) -> list[Move]:
    return [move for move in moves if move.name not in problems]


def _merge(
    cluster: Cluster, moves: Sequence[Move], problems: Mapping[str, object], edit: Callable[[Move], Edit]
) -> Problems:
    """One merge for all; where that is refused, one for each, so that only those to blame fail."""
    going = _good(moves, problems)
    edits = {move.name: edit(move) for move in going}
    if not going:
        return {}
    try:
        put = {app: config for e in edits.values() for app, config in e.put.items()}
        cluster.merge(put, [app for e in edits.values() for app in e.remove], owner=going[0].owner)
        return {}
    except LacError as error:
        if not _of_ray(error):
            raise
        if len(going) == 1:
            return {going[0].name: error.diagnostics[0]}
    problems_apart: Problems = {}
    for move in going:
        try:
            cluster.merge(edits[move.name].put, edits[move.name].remove, owner=move.owner)
        except LacError as error:
            if not _of_ray(error):
                raise
            problems_apart[move.name] = error.diagnostics[0]
    return problems_apart


def _of_ray(error: LacError) -> bool:
    """Whether the error is about apps. Other errors forbid the write and concern no endpoint."""
    return error.diagnostics[0].code.startswith("ray-")


def _remove_broken_apps(
    cluster: Cluster, moves: Sequence[Move], endpoints: Mapping[str, LiveEndpoint], tell: Tell
) -> Problems:
    """Remove the broken apps of an interrupted apply first: Ray wouldn't retry them."""
    broken = {
        app: move
        for move in moves
        if move.after is not None and (here := endpoints.get(move.name)) is not None
        for app in here.leftovers
        if app in move.after.apps and here.entities[app].problem is not None
    }
    if not broken:
        return {}
    problems = _merge(
        cluster, moves, {}, lambda move: Edit(remove=[app for app, of in broken.items() if of is move])
    )
    for app in cluster.gone(broken, GONE_TIMEOUT, lambda: tell("")):
        problems[broken[app].name] = f"{app} still exists after {GONE_TIMEOUT:.0f} s"
    return problems


def _candidates(move: Move, endpoints: Mapping[str, LiveEndpoint]) -> Edit:
    if move.after is None:
        return Edit()
    here = endpoints.get(move.name) or LiveEndpoint(move.owner, move.name)
    return Edit(here.candidates(move.after, move.before))


def _table(move: Move, endpoints: Mapping[str, LiveEndpoint]) -> Edit:
    assert move.after is not None
    here = endpoints.get(move.name) or LiveEndpoint(move.owner, move.name)
    config = here.ingress_with(move.after)
    return Edit({} if config is None else {ingress_name(move.name): config})


def _retirement(move: Move, here: LiveEndpoint | None) -> Edit:
    if here is None or not owns(move.owner, here.owner):
        return Edit()
    if move.after is None:
        return Edit(remove=here.names)
    configs = move.after.configs()
    return Edit(configs, sorted(here.entities.keys() - configs.keys()))


def deploy_edits(
    cluster: Cluster,
    moves: Sequence[Move],
    problems: Mapping[str, object],
    edit: Callable[[Move], Edit],
    tell: Tell,
) -> Problems:
    """Merge the edits of all moves without a problem, and wait until their apps run; returns the problems.

    Apps that disappear meanwhile are merged again. Ray's PUT is last-writer-wins: another deployer that read
    before our write and wrote after it has dropped our apps, and it can't see apps that never ran.
    """
    for _ in range(_TIMES):
        refusals = _merge(cluster, moves, problems, edit)
        names = {app: move for move in _good(moves, {**problems, **refusals}) for app in edit(move).put}
        apps = _await_apps(cluster, names, tell)
        if not any(app is None or app.leaving for app in apps.values()):
            break
    lines_by_endpoint: dict[str, list[str]] = {}
    for name, app in apps.items():
        if problem := _trouble(app):
            lines_by_endpoint.setdefault(names[name].name, []).append(
                f"{_what(name, names[name])}: {problem}"
            )
    return refusals | {endpoint: "\n".join(lines) for endpoint, lines in lines_by_endpoint.items()}


def _await_apps(cluster: Cluster, names: Mapping[str, Move], tell: Tell) -> Mapping[str, Application | None]:
    """The apps, when they run or have failed."""
    if not names:
        return {}

    changing = set()

    def progress(app: Application) -> None:
        # an ingress that goes on running is no news
        is_ingress = app.name == ingress_name(names[app.name].name)
        if app.status != "RUNNING" or app.name in changing or not is_ingress:
            tell(f"{_what(app.name, names[app.name])} is {app.status}")
        changing.add(app.name)

    return cluster.wait(names, DEPLOY_TIMEOUT, progress, lambda: tell(""))


def _trouble(app: Application | None) -> str | None:
    if app is None or app.leaving:
        return "it was deleted outside lac"
    if app.problem is not None or app.status == "RUNNING" or app.is_degraded:
        return app.problem
    messages = [app.message, *(d.message for d in app.deployments.values())]
    return "\n".join([f"still {app.status} after {DEPLOY_TIMEOUT:.0f} s", *(t for t in messages if t)])


def _what(app: str, move: Move) -> str:
    """An app as people know it, by the entity that it holds: `fraud: champion v4`."""
    if move.after is None:
        return move.name
    entity = move.after.names.get(app, move.after.primary)
    if entity is None:
        return f"{move.name}: its front"
    return f"{move.name}: {entity.name}" + (f" v{entity.entity_version}" if entity.entity_version else "")


def _probe_new(cluster: Cluster, move: Move, endpoints: Mapping[str, LiveEndpoint], tell: Tell) -> str | None:
    """Ask each app that doesn't serve yet, through the ingress; what is wrong with the first that is."""
    here = endpoints.get(move.name)
    if here is not None and here.ingress is not None and here.ingress.problem is not None:
        # it runs, so it has loaded; nobody can ask for it through an ingress that failed
        return None
    serving = set(here.committed.values()) if here else set()
    names = move.after.names if move.after else {}
    for app in sorted(names.keys() - serving):
        # a model at a provider has nothing to load: it lacks a secret, or is ready
        seconds = PROBE_TIMEOUT if names[app].is_hosted else PROXY_TIMEOUT
        problem = cluster.probe(move.name, entity=app, timeout=seconds, pulse=lambda: tell(""))
        if problem is not None:
            return f"{_what(app, move)}: after {seconds:.0f} s, {problem}"
    return None
