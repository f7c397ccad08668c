"""Read the small file that describes a model, from wherever its files are, within a time limit.

Local files are read here. Whatever is on another machine is read by one process apart (`_APART`), which is
ended when the time is over: a store that doesn't answer holds nothing up, and mlflow is imported there only.
What can't be read is an answer, never an error, and no answer holds an address or somebody else's words, for
both may hold a password.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

from .mlflow_uris import HOST_ADDRESSED, join, local_path

FILE: Final = "MLmodel"
LARGEST: Final = 8 * 1024 * 1024
"""Bytes of such a file; a larger one isn't read. MLflow's own are a few thousand."""
THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Unread:
    """Why there is nothing. `absent`: it is certain that no such file is there. `why` ends a sentence."""

    why: str
    absent: bool = False


File = bytes | Unread


def read_files(
    locations: Collection[str], *, seconds: float, root: str = "", environ: Mapping[str, str] | None = None
) -> dict[str, File]:
    """The MLmodel below each of `locations`, paths or URIs as MLflow stores them.

    `root`: MLflow's artifact root. Like MLflow's server, this connects to no other host that an address
    names, or whoever registers a version could have our credentials sent to a host of theirs. `environ`
    stands for the process's environment; stores' credentials are looked up there.
    """
    until = time.monotonic() + seconds
    environ = os.environ if environ is None else environ
    here = {place: Path(path) for place in locations if (path := local_path(place)) is not None}
    answers: queue.SimpleQueue[tuple[str, File]] = queue.SimpleQueue()
    found: dict[str, File] = {}
    away: list[str] = []
    for place in locations:
        if place in here:
            continue
        if problem := _out_of_reach(place, root, environ):
            found[place] = Unread(problem)
        else:
            away.append(place)
    waiting = len(here)
    _read_here(here, answers)
    if away:
        found |= _read_away(sorted(away), until, environ)
    while waiting:
        try:
            place, file = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[place] = file
        waiting -= 1
    late = Unread(f"it couldn't be read within {seconds:g} s")
    return {place: found.get(place, late) for place in locations}


# --- on this machine


def _read_here(paths: Mapping[str, Path], answers: queue.SimpleQueue[tuple[str, File]]) -> None:
    """A few threads, which nobody waits for: a network drive may never answer."""
    rest = list(paths.items())
    shares = [rest[n::THREADS] for n in range(min(THREADS, len(rest)))]

    def work(share: list[tuple[str, Path]]) -> None:
        for place, path in share:
            answers.put((place, _local(path / FILE)))

    for share in shares:
        threading.Thread(target=work, args=(share,), daemon=True).start()


def _local(path: Path) -> File:
    try:
        # a pipe would wait for its writer
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Unread("no such file", absent=True)
    except (OSError, ValueError) as error:
        return Unread(type(error).__name__)
    with open(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            return Unread("not a file", absent=True)
        try:
            data = file.read(LARGEST + 1)
        except OSError as error:
            return Unread(type(error).__name__)
    return data if len(data) <= LARGEST else Unread("it is too large")


# --- on other machines

_NEEDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    # what fsspec needs for a scheme beside itself, and what mlflow does: one module of each is enough
    "s3": (("s3fs",), ("boto3",)),
    "r2": ((), ("boto3",)),
    "b2": ((), ("boto3",)),
    "gs": (("gcsfs",), ("google.cloud.storage",)),
    "wasbs": ((), ("azure.storage.blob",)),
    "abfss": (("adlfs",), ("azure.storage.filedatalake",)),
    "hdfs": (("pyarrow",), ("pyarrow",)),
    "viewfs": ((), ("pyarrow",)),
    "sftp": (("paramiko",), ("pysftp",)),
    "ftp": (("ftplib",), ("ftplib",)),
    "http": (("aiohttp",), ("requests",)),
    "https": (("aiohttp",), ("requests",)),
    "mlflow-artifacts": ((), ("requests",)),
}


def _out_of_reach(place: str, root: str, environ: Mapping[str, str]) -> str:
    """Why it is no use to ask for it, or nothing. Nothing is imported to find out."""
    server = environ.get("MLFLOW_TRACKING_URI", "")
    try:
        scheme = urlparse(place).scheme.lower()
        asked, trusted = _target(place), {_target(root), *_served_by(server)}
    except ValueError:
        return "its address can't be read"
    if "::" in place:
        # to fsspec that is one address inside of another, and could lead anywhere
        return "its address can't be read"
    if asked is not None and asked not in trusted:
        return "its address names another host than MLflow's artifact root"
    if scheme == "mlflow-artifacts" and not server.startswith(("http:", "https:")):
        return "it is read through MLflow's server, and MLFLOW_TRACKING_URI doesn't say where that is"
    if not _reader(scheme):
        return f"nothing that is installed here reads `{scheme}:`"
    return ""


Target = tuple[str, str | None, int | None]
"""What one connects to: scheme, host, port."""


def _target(uri: str) -> Target | None:
    """Where reading it leads, if the address itself says so. ValueError where its port is none."""
    parsed = urlparse(uri)
    if parsed.scheme.lower() in HOST_ADDRESSED and parsed.netloc:
        return parsed.scheme.lower(), parsed.hostname, parsed.port
    return None


def _served_by(server: str) -> Iterator[Target]:
    """What leads to MLflow's server, which is asked with our credentials in any case."""
    if (target := _target(server)) is not None:
        yield target
        yield "mlflow-artifacts", *target[1:]


def _reader(scheme: str) -> str:
    """Which of the two reads it, or nothing."""
    by_fsspec, by_mlflow = _NEEDS.get(scheme, ((), ()))
    if _there("fsspec") and any(map(_there, by_fsspec)):
        return "fsspec"
    if _there("mlflow") and any(map(_there, by_mlflow)):
        return "mlflow"
    if scheme not in _NEEDS:
        for name, group in (("fsspec", "fsspec.specs"), ("mlflow", "mlflow.artifact_repository")):
            if _there(name) and scheme in entry_points(group=group).names:
                return name
    return ""


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        # one of its parents isn't there
        return False


_APART: Final = """
import base64, concurrent.futures, json, os, signal, sys, tempfile
given = json.load(sys.stdin)
# if whoever started this is gone by then
signal.alarm(given["seconds"])
# what libraries print is nobody's
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

def by_fsspec(address):
    import fsspec
    with fsspec.open(address, "rb") as file:
        return file.read(given["largest"] + 1)

def by_mlflow(address, place):
    import mlflow.artifacts
    with tempfile.TemporaryDirectory(dir=".") as directory:
        try:
            path = mlflow.artifacts.download_artifacts(address, dst_path=directory)
        except Exception:
            # every store of mlflow's fails in its own way; what isn't listed isn't there
            listed = [file.path for file in mlflow.artifacts.list_artifacts(place)]
            if any(os.path.basename(path) == os.path.basename(address) for path in listed):
                raise
            raise FileNotFoundError from None
        with open(path, "rb") as file:
            return file.read(given["largest"] + 1)

def answer(place):
    reader, address = given["files"][place]
    try:
        data = by_fsspec(address) if reader == "fsspec" else by_mlflow(address, place)
    except FileNotFoundError:
        return place, None, ""
    except BaseException as error:
        # never what it says: there may be a password in it
        return place, None, type(error).__name__
    return place, base64.b64encode(data).decode(), ""

if any(reader == "mlflow" for reader, _ in given["files"].values()):
    # once, before there are threads
    import mlflow.artifacts
with concurrent.futures.ThreadPoolExecutor(given["threads"]) as pool:
    for done in concurrent.futures.as_completed([pool.submit(answer, place) for place in given["files"]]):
        print(json.dumps(done.result()), file=answers, flush=True)
"""


def _read_away(places: list[str], until: float, environ: Mapping[str, str]) -> dict[str, File]:
    """By one process apart; what it hasn't answered in time has no answer."""
    left = until - time.monotonic()
    files = {place: (_reader(urlparse(place).scheme.lower()), join(place, FILE)) for place in places}
    given = {"files": files, "seconds": max(1, int(left) + 2), "largest": LARGEST, "threads": THREADS}
    with tempfile.TemporaryDirectory(prefix="lac-") as directory:
        # in a directory of its own: mlflow may leave a database in the one that it is started in
        process = subprocess.Popen(
            [sys.executable, "-c", _APART],
            cwd=directory,
            env={**environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            # by stdin: addresses may hold passwords, and arguments are there for everybody to see
            said, _ = process.communicate(json.dumps(given), timeout=max(0.0, left))
        except subprocess.TimeoutExpired:
            _end(process)
            # what it answered until then
            said, _ = process.communicate(timeout=1.0)
        finally:
            _end(process)
    return dict(_answers(said))


def _end(process: subprocess.Popen[str]) -> None:
    """With all that it started: it leads a session of its own."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(said: str) -> Iterator[tuple[str, File]]:
    for line in said.splitlines():
        try:
            place, data, problem = json.loads(line)
        except ValueError:
            # it was ended in the middle of a line
            return
        if data is not None:
            read = b64decode(data)
            yield place, read if len(read) <= LARGEST else Unread("it is too large")
        elif problem:
            yield place, Unread(problem)
        else:
            yield place, Unread("no such file", absent=True)
