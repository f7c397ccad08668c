"""MLflow's rules for names, tags and grants, as pure functions: an error message, or None.

MLflow checks these in Python and not in its database, so a direct writer must check them, too. Each
is at least as strict as MLflow's (which a property test proves, with MLflow as the oracle), and stricter
where the column is shorter than MLflow's limit: PostgreSQL would refuse what SQLite lets through.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from ...model.access import ON_ALL_ONLY
from ...serving.levels import ResourceType
from .uris import FOREIGN_FILE, climbs, is_foreign_file, local_path, parse_source

ARTIFACT_LOCATION_LENGTH: Final = 256
"""The column's; MLflow's own limit is set by MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH, 2048 by default."""

LAST_VERSION: Final = 2**31 - 1
"""The column's maximum on PostgreSQL."""

WORKSPACE_LEVELS: Final = frozenset({"USE", "MANAGE"})
RESOURCE_LEVELS: Final = frozenset({"READ", "USE", "EDIT", "MANAGE", "DENY"})

_ALIAS: Final = re.compile(r"[\w\-]+")
_VERSION_ALIAS: Final = re.compile(r"[vV]\d+")
_RUN_ID: Final = re.compile(r"[a-zA-Z0-9][\w\-]{0,31}")
_KEY: Final = re.compile(r"[/\w.\- :]*")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def _unstorable(what: str, value: str, limit: int) -> str | None:
    """PostgreSQL stores no NUL, and half of a surrogate pair is in no encoding."""
    if len(value) > limit:
        return f"{what} has at most {limit} characters; this one has {len(value)}"
    if _UNSTORABLE.search(value):
        return f"{what} contains a character that a database can't store"
    return None


description: Final = partial(_unstorable, "a description", limit=5000)
"""The column of models and versions: 5000 characters."""
role_description: Final = partial(_unstorable, "a role's description", limit=1024)
"""The column: 1024 characters."""
model_tag_value: Final = partial(_unstorable, "a model's tag", limit=5000)
"""The column: 5000 characters (MLflow checks 100,000)."""
version_tag_value: Final = partial(_unstorable, "a version's tag", limit=100_000)
"""MLflow: 100,000 characters."""
experiment_tag_value: Final = partial(_unstorable, "an experiment's tag", limit=20_000)
"""MLflow: 20,000 characters."""


def model_name(name: str) -> str | None:
    """MLflow: not blank, no `/` or `:`, doesn't read as another path. The column: 256 characters."""
    if not name.strip():
        return "a model's name can't be blank"
    if "/" in name or ":" in name:
        return "a model's name can't contain `/` or `:`"
    if _reads_as_path(name):
        return "a model's name can't read as a path such as `.` or `..`"
    return _unstorable("a model's name", name, 256)


def alias(name: str) -> str | None:
    """MLflow: letters, digits, `_` and `-`; not `latest` in any case, not `v<digits>`; 255 characters."""
    if not _ALIAS.fullmatch(name):
        return "an alias may only contain letters, digits, `_` and `-`"
    if name.lower() == "latest":
        return "`latest` is MLflow's own name for the highest version"
    if _VERSION_ALIAS.fullmatch(name):
        return "`v<number>` is MLflow's own name for a version"
    return _unstorable("an alias", name, 255)


def new_alias(name: str) -> str | None:
    """Ours: not a bare number. MLflow accepts it, so an existing one may stay."""
    return "an alias that is a number reads as a version" if name.isdigit() else None


def tag_key(key: str) -> str | None:
    """MLflow: letters, digits and `_ - . space : /`; doesn't read as another path; 250 characters. The same
    for models, versions and experiments. Colons are left out where the server runs on Windows."""
    if not key:
        return "a tag's key can't be empty"
    if not _KEY.fullmatch(key):
        return "a tag's key may only contain letters, digits, spaces and `_ - . : /`"
    if _reads_as_path(key):
        return "a tag's key can't read as a path such as `.`, `../x`, `/x` or `x//y`"
    return _unstorable("a tag's key", key, 250)


def model_tag_key(key: str) -> str | None:
    """`tag_key`, and not the mark of a prompt. MLflow: prompts cannot be registered as models."""
    if key == "mlflow.prompt.is_prompt":
        return f"`{key}` is MLflow's own mark of a prompt"
    return tag_key(key)


def experiment_tag_key(key: str) -> str | None:
    """`tag_key`, and not a key that MLflow gives a meaning of its own."""
    if key == "mlflow.note.content":
        return f"`{key}` is the description: write `description:`"
    settings = "mlflow.trace.archivalRetention", "mlflow.trace.archiveNow"
    # MLflow checks their values in ways of their own
    if key in settings or key.startswith("mlflow.customView"):
        return f"`{key}` is a setting of MLflow's own"
    return tag_key(key)


def source(uri: str) -> str | None:
    """A version's source, as a manifest may hold it. The column: 500 characters.

    Stricter rules apply to a new one (`new_source`): MLflow's client accepts anything on a database, and
    manifests may declare what exists.
    """
    if not uri.strip():
        return "a version's source can't be blank"
    if uri.startswith("models:") and (problem := new_source(uri)):
        return problem
    return _unstorable("a version's source", uri, 500)


def new_source(uri: str) -> str | None:
    """MLflow's server's rules for a new version's source; see `uris.parse_source`."""
    try:
        parse_source(uri)
    except ValueError as error:
        return str(error)
    return None


def run_id(text: str) -> str | None:
    """MLflow: letters, digits, `_` and `-`. The column: 32 characters."""
    return None if _RUN_ID.fullmatch(text) else "a run id is up to 32 letters, digits, `_` and `-`"


def experiment_name(name: str) -> str | None:
    """MLflow: not empty. The column: 256 characters (MLflow checks 500). Blank is ours to refuse."""
    if not name.strip():
        return "an experiment's name can't be blank"
    return _unstorable("an experiment's name", name, 256)


def artifact_location(uri: str) -> str | None:
    """MLflow: not `runs:`, no fragment or parameters, no other host's files. The column: 256 characters.
    Ours: no query; no relative path, which would count from wherever MLflow's server runs; and no `..` but in
    a path, for MLflow refuses each model below such an address."""
    if uri.startswith("runs:"):
        return "an artifact location can't be a `runs:/` address"
    if not uri or any(character in uri for character in "#;?"):
        return "an artifact location can't be empty or contain `#`, `;` or `?`"
    try:
        here, foreign = local_path(uri), is_foreign_file(uri)
    except ValueError:
        return "an artifact location must be an absolute path or a URI"
    if foreign:
        return FOREIGN_FILE
    if here is None and climbs(uri):
        return "an artifact location can't contain `..`"
    if here is not None and not here.is_absolute():
        return "an artifact location must be an absolute path or a URI"
    return _unstorable("an artifact location", uri, ARTIFACT_LOCATION_LENGTH)


def role_name(name: str) -> str | None:
    """MLflow: not empty, doesn't begin with `__user_`, its prefix for one user's own grants."""
    if not name.strip():
        return "a role's name can't be blank"
    if name.startswith("__user_"):
        return "names that begin with `__user_` are MLflow's own, for one user's grants"
    return _unstorable("a role's name", name, 255)


def grant(resource_type: str, resource: str, level: str) -> str | None:
    """MLflow: which level may be granted on which type, and whether on one resource or only on `*`."""
    if resource_type not in frozenset(ResourceType):
        return f"`{resource_type}` isn't a resource type that can be granted"
    if resource_type in ON_ALL_ONLY and resource != "*":
        return f"a grant on {resource_type} covers all of them: write `*`"
    levels = WORKSPACE_LEVELS if resource_type == ResourceType.WORKSPACE else RESOURCE_LEVELS
    if level not in levels:
        return f"the levels on {resource_type} are {', '.join(sorted(levels))}"
    if not resource:
        return "a grant needs a resource, or `*`"
    return _unstorable("a resource", resource, 255)


def validator(rule: Callable[[str], str | None]) -> Callable[[str], str]:
    """A rule in the form that a field's `AfterValidator` takes: ValueError with the message."""

    def check(value: str) -> str:
        if problem := rule(value):
            raise ValueError(problem)
        return value

    return check


def _reads_as_path(name: str) -> bool:
    """MLflow: a name may become a file's, so it must be its own normal form and stay where it is."""
    normal = posixpath.normpath(name)
    return normal != name or normal == "." or normal.startswith(("..", "/"))
