"""The PUT that changes lac's apps and keeps others, and the apps of others that it dropped. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model.diagnostics import Diagnostic, LacError
from .apps import AppConfig, describe_owner, owns
from .state import Application, applications

# what a PUT must repeat, or Ray takes its own default for it
_INSTANCE = ("proxy_location", "http_options", "grpc_options", "target_capacity")
# Ray passes these on unread. They are equal or not: a removed key must be noticed, too
_OPAQUE = frozenset({"user_config", "args", "runtime_env"})


def refuse_foreign(
    apps: Mapping[str, Application], put: Mapping[str, AppConfig], remove: frozenset[str], owner: str
) -> None:
    """Raise for every name of another owner, whose app would be overwritten or deleted."""
    problems = []
    for name in sorted({*put, *remove} & apps.keys()):
        app = apps[name]
        if (app_mark := app.mark) is not None and owns(owner, app_mark.owner):
            continue
        # a deleted app whose config Ray no longer reports
        if app.config is None and app.leaving:
            continue
        theirs = describe_owner(app_mark.owner) if app_mark else "someone else"
        problems.append(
            Diagnostic(
                "ray-not-ours",
                "another owner has a Ray Serve app with this name",
                f"App `{name}` on the cluster belongs to {theirs}.",
                "give the endpoint another name, or remove that app where it was deployed",
            )
        )
    routes = {a.route_prefix: a for a in apps.values() if a.route_prefix and not a.leaving}
    for name, config in sorted(put.items()):
        other = routes.get(str(config.get("route_prefix")))
        if other is not None and other.name != name and other.name not in remove:
            problems.append(
                Diagnostic(
                    "ray-route-taken",
                    "another Ray Serve app uses this route",
                    f"Route `{config['route_prefix']}` of app `{name}` is used by app `{other.name}`.",
                    "give the endpoint another name, or remove that app where it was deployed",
                )
            )
    if problems:
        raise LacError(*problems)


def body(
    instance: Mapping[str, Any],
    put: Mapping[str, AppConfig],
    remove: frozenset[str],
    lost_apps: Mapping[str, AppConfig],
    http_options: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole set to PUT: others' apps unchanged, lac's as in `put`."""
    foreign = {
        app.name: app.config
        for app in applications(instance).values()
        if app.config is not None and app.source != "imperative" and not app.leaving
    }
    apps = {n: c for n, c in {**lost_apps, **foreign}.items() if n not in remove} | dict(put)
    settings = {key: instance[key] for key in _INSTANCE if instance.get(key) is not None}
    if "http_options" not in settings and http_options:
        settings["http_options"] = dict(http_options)
    return {**settings, "applications": [apps[name] for name in sorted(apps)]}


def differs(apps: Mapping[str, Application], put: Mapping[str, AppConfig], remove: frozenset[str]) -> bool:
    """Whether a write is still needed."""
    is_left = any(not apps[n].leaving for n in remove & apps.keys())
    return is_left or any(
        n not in apps or apps[n].leaving or not _contains(apps[n].config, config) for n, config in put.items()
    )


def _contains(actual: Any, expected: Any) -> bool:
    """Whether Ray reports all of `expected`; it adds defaults of its own to what it was sent."""
    match actual, expected:
        case dict(), dict():
            return all(
                k in actual and (actual[k] == v if k in _OPAQUE else _contains(actual[k], v))
                for k, v in expected.items()
            )
        case list(), list():
            return len(actual) == len(expected) and all(map(_contains, actual, expected))
        case _:
            return bool(actual == expected)


def find_lost_apps(
    before: Mapping[str, Application],
    after: Mapping[str, Application],
    request: Mapping[str, AppConfig],
    remove: frozenset[str],
) -> dict[str, AppConfig]:
    """Declarative apps that our PUT must have dropped: made by others between our read and our write."""
    return {
        name: app.config
        for name, app in after.items()
        if app.leaving
        and app.config is not None
        and app.source != "imperative"
        and name not in request
        and name not in remove
        and not (name in before and before[name].leaving)
    }
