"""Read the small file that describes a model, from wherever its files are, within a time limit.

Threads read local files. One process apart reads all others. It is ended when the time is over, so a store
that doesn't answer holds nothing up, and fsspec or mlflow is imported only there. A file that can't be read
is an answer, never an error. No answer holds an address or a library's own words: both may hold a password.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

from ...manifest.regular_file import NotRegularError, read_regular_file
from ..proxies import without_loopback
from .mlmodel import MAX_BYTES
from .uris import HOST_ADDRESSED, join, local_path

FILE: Final = "MLmodel"
LARGEST: Final = MAX_BYTES
THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Why a file couldn't be read. `absent`: the file certainly doesn't exist. `why` ends a sentence."""

    why: str
    absent: bool = False


File = bytes | ReadFailure


def read_files(
    locations: Collection[str], *, seconds: float, root: str = "", environ: Mapping[str, str] | None = None
) -> Generator[tuple[str, File]]:
    """The MLmodel below each of `locations`, paths or URIs as MLflow stores them, as they arrive; each of
    them once, and the last one after `seconds` at the latest. Close it (`contextlib.closing`).

    `root`: MLflow's artifact root. Like MLflow's server, this connects to no other host that an address
    names: a version's author could otherwise have lac's credentials sent to another host. `environ`
    stands for the process's environment; stores' credentials are looked up there.
    """
    until = time.monotonic() + seconds
    environ = os.environ if environ is None else environ
    here: dict[str, Path] = {}
    away: dict[str, str] = {}
    for place in sorted({*locations}):
        if (path := local_path(place)) is not None:
            here[place] = Path(path)
        elif problem := out_of_reach(place, root, environ):
            yield place, ReadFailure(problem)
        else:
            away[place] = _reader(urlparse(place).scheme)
    pending = {*here, *away}
    answers: queue.SimpleQueue[tuple[str, File]] = queue.SimpleQueue()
    with ExitStack() as running:
        if away:
            running.enter_context(start_reader(away, until, environ, answers))
        _read_here(here, answers)
        while pending and (rest := until - time.monotonic()) > 0:
            try:
                place, file = answers.get(timeout=rest)
            except queue.Empty:
                break
            if place in pending:
                pending.discard(place)
                yield place, file
    for place in sorted(pending):
        yield place, ReadFailure(f"there was no answer within {seconds:g} s")


# --- on this machine


def _read_here(paths: Mapping[str, Path], answers: queue.SimpleQueue[tuple[str, File]]) -> None:
    """Read in daemon threads: a network drive may never answer."""
    rest = list(paths.items())

    def work(share: list[tuple[str, Path]]) -> None:
        for place, path in share:
            answers.put((place, _local(path / FILE)))

    for number in range(min(THREADS, len(rest))):
        threading.Thread(target=work, args=(rest[number::THREADS],), daemon=True).start()


def _local(path: Path) -> File:
    try:
        data = read_regular_file(path, LARGEST)
        return ReadFailure("it is too large") if len(data) > LARGEST else data
    except NotRegularError:
        return ReadFailure("not a file", absent=True)
    except (FileNotFoundError, NotADirectoryError):
        return ReadFailure("no such file", absent=True)
    except OSError as error:
        # the system's words, which hold no path
        return ReadFailure(error.strerror or type(error).__name__)
    except ValueError as error:
        return ReadFailure(type(error).__name__)


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


def out_of_reach(place: str, root: str, environ: Mapping[str, str]) -> str:
    """Why `place` can't be read from here; empty if it can. Imports nothing."""
    server = environ.get("MLFLOW_TRACKING_URI", "")
    try:
        scheme = urlparse(place).scheme
        target = _target(place)
        is_trusted = target is None or target in {_target(root), *_served_by(server)}
    except ValueError:
        return "its address can't be read"
    if "::" in place:
        # to fsspec that is one address inside of another, and could lead anywhere
        return "its address can't be read"
    if not is_trusted:
        return "its address names another host than MLflow's artifact root"
    if scheme == "mlflow-artifacts" and not server.startswith(("http:", "https:")):
        return "only MLflow's server can read it, and MLFLOW_TRACKING_URI doesn't name that server"
    if not _reader(scheme):
        return f"no installed package reads `{scheme}:`"
    return ""


Target = tuple[str, str | None, int | None]
"""Scheme, host and port of a connection."""


def _target(uri: str) -> Target | None:
    """The host that the address names, if any. ValueError for an invalid port."""
    parts = urlparse(uri)
    if parts.scheme in HOST_ADDRESSED and parts.netloc:
        return parts.scheme, parts.hostname, parts.port
    return None


def _served_by(server: str) -> Iterator[Target]:
    """The targets that lead to MLflow's server, which gets lac's credentials in any case."""
    if (target := _target(server)) is not None:
        yield target
        yield "mlflow-artifacts", *target[1:]


@cache
def _reader(scheme: str) -> str:
    """`fsspec` or `mlflow`, whichever can read such an address here; empty if neither can."""
    by_fsspec, by_mlflow = _NEEDS.get(scheme, ((), ()))
    if _is_installed("fsspec") and any(map(_is_installed, by_fsspec)):
        return "fsspec"
    if _is_installed("mlflow") and any(map(_is_installed, by_mlflow)):
        return "mlflow"
    if scheme not in _NEEDS:
        for name, group in (("fsspec", "fsspec.specs"), ("mlflow", "mlflow.artifact_repository")):
            if _is_installed(name) and scheme in entry_points(group=group).names:
                return name
    return ""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        # one of its parents isn't there
        return False


_APART: Final = """
import base64, concurrent.futures, json, os, signal, sys, tempfile
request = json.load(sys.stdin)
# ends this process if its parent is gone by then
signal.alarm(request["seconds"])
# what libraries print goes to stderr
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

def by_fsspec(address):
    from fsspec.core import url_to_fs
    # not by open(), which takes any trouble for an absent file
    system, path = url_to_fs(address)
    return system.cat_file(path, start=0, end=request["largest"] + 1)

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
            return file.read(request["largest"] + 1)

def answer(place):
    reader, address = request["files"][place]
    try:
        data = by_fsspec(address) if reader == "fsspec" else by_mlflow(address, place)
    except FileNotFoundError:
        return place, None, ""
    except BaseException as error:
        # never what it says: there may be a password in it
        return place, None, type(error).__name__
    return place, base64.b64encode(data).decode(), ""

if any(reader == "mlflow" for reader, _ in request["files"].values()):
    # once, before there are threads
    import mlflow.artifacts
with concurrent.futures.ThreadPoolExecutor(request["threads"]) as pool:
    for done in concurrent.futures.as_completed([pool.submit(answer, place) for place in request["files"]]):
        print(json.dumps(done.result()), file=answers, flush=True)
"""


@contextmanager
def start_reader(
    places: Mapping[str, str],
    until: float,
    environ: Mapping[str, str],
    answers: queue.SimpleQueue[tuple[str, File]],
) -> Iterator[None]:
    """A process apart that reads files, while the block lasts. `places`: each with what reads it."""
    files = {place: (reader, join(place, FILE)) for place, reader in places.items()}
    seconds = max(1, int(until - time.monotonic()) + 5)
    request = json.dumps({"files": files, "seconds": seconds, "largest": LARGEST, "threads": THREADS})
    with tempfile.TemporaryDirectory(prefix="lac-", ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(
            [sys.executable, "-c", _APART],
            # mlflow may leave a database in the directory that it is started in
            cwd=directory,
            env={
                # without lac's own variables, such as the key that seals plans
                **{name: value for name, value in environ.items() if not name.startswith("LAC_")},
                **without_loopback(environ),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

        def listen() -> None:
            # it may be ended at any point of this
            with suppress(OSError, ValueError):
                assert process.stdin is not None
                assert process.stdout is not None
                # not as an argument: addresses may hold passwords, and every user can see arguments
                with process.stdin as asking:
                    asking.write(request)
                with process.stdout as output:
                    for line in output:
                        answers.put(_answer(line))
            process.wait()
            for place in places:
                # ignored after the place's own answer
                answers.put((place, ReadFailure("the process that reads it ended early")))

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        try:
            yield
        finally:
            if process.poll() is None:
                # with all that it started: it leads a session of its own
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            listening.join(1.0)


def _answer(line: str) -> tuple[str, File]:
    place, data, problem = json.loads(line)
    if data is not None:
        content = b64decode(data)
        return place, content if len(content) <= LARGEST else ReadFailure("it is too large")
    return place, ReadFailure(problem) if problem else ReadFailure("no such file", absent=True)
