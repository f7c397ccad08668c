"""Read and join the addresses that MLflow stores: version sources and artifact locations. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, unquote_plus, urlparse, urlunparse

HOST_ADDRESSED: Final = frozenset(
    {"ftp", "sftp", "hdfs", "viewfs", "http", "https", "mlflow-artifacts", "r2", "b2", "abfss"}
)
"""Schemes that make MLflow's server connect to the host in the address; it does so for its root's only."""

_PROXY: Final = ("api", "2.0", "mlflow-artifacts", "artifacts")
"""Where MLflow's server hands out artifacts over HTTP."""

_RUN_PATH: Final = re.compile(r"runs:/([^/]+)/(.+?)/*")
_VERSION: Final = re.compile(r"models:/([^/?]+)/([0-9]+)")
_LOGGED_MODEL: Final = re.compile(r"models:/([^/?@]+)")


FOREIGN_FILE: Final = "a `file:` address can't name another host: write `file:///<path>`"
"""The error for an address that `is_foreign_file`."""


@dataclass(frozen=True, slots=True)
class RunPath:
    """`runs:/<run_id>/<path>`: what a run logged at `path`."""

    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """`models:/<model_id>`: a model as logged, before any registration."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Version:
    """`models:/<name>/<version>`: what another version points at."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Location:
    """A path or any other address."""

    uri: str

    @property
    def local_path(self) -> PurePosixPath | None:
        """The path, where the address is a path or `file:`."""
        return local_path(self.uri)


SourceAddress = RunPath | LoggedModel | Version | Location


def read_source(text: str) -> SourceAddress:
    """A version's source, in any form that MLflow may have stored; one of no special form is a Location."""
    # each version's source is read several times, and most are locations
    if not text.startswith(("runs:/", "models:/")):
        return Location(text)
    if match := _RUN_PATH.fullmatch(text):
        return RunPath(match[1], match[2])
    if match := _VERSION.fullmatch(text):
        return Version(match[1], int(match[2]))
    if match := _LOGGED_MODEL.fullmatch(text):
        return LoggedModel(match[1])
    return Location(text)


def parse_source(text: str) -> SourceAddress:
    """The source of a new version. ValueError says why MLflow's server would refuse it.

    `models:/<name>@<alias>`, `/latest` and stages are refused: their targets change, and a source can't.
    """
    source = read_source(text)
    if isinstance(source, Location) and text.startswith("models:"):
        raise ValueError(
            "a model is `models:/<model id>` or `models:/<name>/<version>`; "
            "aliases and stages, which change, can't be a source"
        )
    if problem := _unsafe(text):
        raise ValueError(problem)
    if isinstance(source, Location) and text.startswith("runs:"):
        raise ValueError("a run's model is `runs:/<run id>/<path>`")
    if is_foreign_file(text):
        raise ValueError(FOREIGN_FILE)
    return source


def _unsafe(text: str) -> str | None:
    """MLflow: no `..` however encoded, no NUL, an absolute path in its normal form."""
    plain = _decode(text)
    if "\x00" in plain or climbs(plain):
        return "a version's source can't contain `..`"
    try:
        parsed = urlparse(plain)
    except ValueError:
        return "a version's source must be a path or a URI"
    path = re.sub(r"/+", "/", parsed.path.rstrip("/"))
    if not path.startswith("/"):
        return "a version's source must be an absolute path or a whole URI"
    if path != posixpath.normpath(path):
        return "a version's source can't contain `.` as a step"
    if parsed.scheme in ("runs", "models") and (parsed.netloc or text.startswith(f"{parsed.scheme}://")):
        return f"`{parsed.scheme}:/` has one slash: other servers' models can't be named"
    return None


def _decode(text: str) -> str:
    while (shorter := unquote_plus(text)) != text:
        text = shorter
    return text


def climbs(text: str) -> bool:
    """Whether a step of it is `..`, however encoded."""
    return ".." in _decode(text).split("/")


def local_path(uri: str) -> PurePosixPath | None:
    """The path of a plain path or a `file:` address on this host; None for any other address."""
    parsed = urlparse(uri)
    if parsed.scheme == "":
        return PurePosixPath(uri)
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost", "127.0.0.1"):
        return PurePosixPath(unquote(parsed.path))
    return None


def is_foreign_file(uri: str) -> bool:
    """Whether it is a `file:` address that MLflow wouldn't read here: of another host (`is_local_uri`), or
    in capitals (`local_file_uri_to_path`)."""
    return urlparse(uri).scheme == "file" and not (uri.startswith("file:") and local_path(uri))


def is_proxied(uri: str) -> bool:
    """Whether MLflow's server hands the files out itself (`_is_mlflow_artifact_source`)."""
    scheme, _, steps = _steps(uri)
    routes = (steps[start : start + len(_PROXY)] for start in range(len(steps)))
    return scheme == "mlflow-artifacts" or (scheme in ("http", "https") and _PROXY in routes)


def ends_with(uri: str, run_id: str, path: str) -> bool:
    """Whether it can be the address of `path` among the files of a run, wherever those were. MLflow puts them
    in `<run_id>/artifacts` unless somebody moved them."""
    steps, tail = _steps(uri)[2], tuple(step for step in unquote(path).split("/") if step)
    places = [at + 2 for at in range(len(steps)) if steps[at : at + 2] == (run_id, "artifacts")]
    return tail in [steps[place:] for place in places] if places else steps[-len(tail) :] == tail


def join(uri: str, path: str) -> str:
    """`path` below `uri`, before its query. MLflow: `append_to_uri_path`."""
    parsed = urlparse(uri)
    if not parsed.scheme:
        return _append(uri, path)
    if not parsed.path.startswith("/"):
        # urlunparse would make a relative path absolute
        return f"{parsed.scheme}:" + urlunparse(parsed._replace(scheme="", path=_append(parsed.path, path)))
    return urlunparse(parsed._replace(path=_append(parsed.path, path)))


def _append(prefix: str, suffix: str) -> str:
    return posixpath.join(prefix, suffix.lstrip("/")) if prefix else suffix


def is_below(uri: str, root: str) -> bool:
    """Whether `uri` is `root` or inside it: same scheme, same host, and a path that begins with root's."""
    inner, outer = _steps(uri), _steps(root)
    return inner[:2] == outer[:2] and bool(outer[2]) and inner[2][: len(outer[2])] == outer[2]


def _steps(uri: str) -> tuple[str, str, tuple[str, ...]]:
    parsed = urlparse(uri)
    scheme = "" if local_path(uri) is not None else parsed.scheme.lower()
    return (
        scheme,
        "" if not scheme else parsed.netloc.lower(),
        tuple(p for p in unquote(parsed.path).split("/") if p),
    )


def host(uri: str) -> str | None:
    """`scheme://host` where MLflow's server would have to connect to it; None for other addresses."""
    parsed = urlparse(uri)
    if parsed.scheme.lower() in HOST_ADDRESSED and parsed.netloc:
        return f"{parsed.scheme}://{parsed.netloc}".lower()
    return None
