"""Secret references: `{{ env.NAME }}` and `{{secrets/scope/key}}` in a value, replaced on the node that uses
it. The stack's lac.yaml says where each `{{secrets/…}}` comes from: a variable, a file or a command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

LOCAL_RAY = "LAC_LOCAL_RAY"
"""The variable that every process of a local Ray has: which one it belongs to."""

Sources = Mapping[str, Mapping[str, Any]]
"""Where secrets come from, by `scope/key`: `{"env": NAME}`, `{"file": PATH}` or `{"command": [WORD, …]}`."""

_NAME = r"env\.(?P<env>[A-Za-z_][A-Za-z0-9_]*)"
_SECRET = r"secrets/(?P<secret>[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)"
_REFERENCE = re.compile(rf"\{{\{{\s*(?:{_NAME}|{_SECRET})\s*\}}\}}", re.ASCII)

_FRESH = 60.0
"""Seconds for which the output of a command, or a file's content, counts without another look."""
_COMMAND_SECONDS = 10.0
_MAX_SIZE = 64 * 1024


def is_reference(value: str) -> bool:
    """Whether `value` is exactly one reference."""
    return _REFERENCE.fullmatch(value) is not None


def names_in(value: str) -> frozenset[str]:
    """The variables that the references in `value` name themselves."""
    return frozenset(match["env"] for match in _REFERENCE.finditer(value) if match["env"])


def secrets_in(value: str) -> frozenset[str]:
    """The secrets, as `scope/key`, that the references in `value` name."""
    return frozenset(match["secret"] for match in _REFERENCE.finditer(value) if match["secret"])


def resolve(value: str, environment: Mapping[str, str] = os.environ, sources: Sources | None = None) -> str:
    """`value` with each reference replaced. It may read a file or run a command. LookupError says what is
    missing on this node, never a value."""
    return _replace(value, lambda match: _look_up(match, environment, sources or {}))


def resolve_all(
    values: Mapping[str, str], environment: Mapping[str, str] = os.environ, sources: Sources | None = None
) -> dict[str, str]:
    """Every value resolved. LookupError names all that is missing, each with the key that needs it."""
    results, missing = {}, []
    for key, value in values.items():
        try:
            results[key] = resolve(value, environment, sources)
        except LookupError as e:
            missing.append(f"{key}: {e.args[0]}")
    if missing:
        raise LookupError("; ".join(missing))
    return results


class Secrets:
    """The secrets of one process, for use on its event loop.

    Values are remembered for a minute, so a key that is rotated in its file or command needs no restart;
    `forget` makes that immediate. An environment variable can't change while its process runs.
    """

    def __init__(
        self,
        sources: Sources | None = None,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = dict(sources or {})
        self._environment = environment
        self._clock = clock
        self._values: dict[str, tuple[float, str]] = {}
        self._reads: dict[str, asyncio.Future[str]] = {}

    def __repr__(self) -> str:
        """Names alone."""
        return f"Secrets({', '.join(sorted(self._sources))})"

    async def resolve(self, value: str) -> str:
        """`value` with each reference replaced. LookupError says what is missing, never a value."""
        for secret in secrets_in(value):
            await self._refresh(secret)
        return _replace(value, self._find)

    def forget(self) -> None:
        """Read every secret anew when it is next needed."""
        self._values.clear()

    def _find(self, match: re.Match[str]) -> str:
        if match["secret"]:
            return self._values[match["secret"]][1]
        return _look_up(match, self._environment, {})

    async def _refresh(self, secret: str) -> None:
        known = self._values.get(secret)
        if known and self._clock() - known[0] < _FRESH:
            return
        if (read := self._reads.get(secret)) is None:
            read = asyncio.ensure_future(
                asyncio.to_thread(_read, secret, self._sources.get(secret), self._environment)
            )
            self._reads[secret] = read
            read.add_done_callback(lambda _: self._reads.pop(secret, None))
        # one client that leaves must not cancel the read that others wait for
        self._values[secret] = self._clock(), await asyncio.shield(read)


def _replace(value: str, find: Callable[[re.Match[str]], str]) -> str:
    return _REFERENCE.sub(find, value) if "{{" in value else value


def _look_up(match: re.Match[str], environment: Mapping[str, str], sources: Sources) -> str:
    if match["secret"]:
        return _read(match["secret"], sources.get(match["secret"]), environment)
    return _variable(match["env"], environment)


def _variable(name: str, environment: Mapping[str, str]) -> str:
    if name not in environment:
        raise LookupError(f"environment variable {name} is not set on this node{_way_out(environment)}")
    return environment[name]


def _way_out(environment: Mapping[str, str]) -> str:
    """A local Ray's processes get the variables that the manifests named when it started."""
    return "; set it, then run `lac down` and `lac apply`" if LOCAL_RAY in environment else ""


def _read(secret: str, source: Mapping[str, Any] | None, environment: Mapping[str, str]) -> str:
    """A secret's value. Errors name the secret and its source."""
    match source:
        case {"env": str(name)}:
            try:
                value = _variable(name, environment)
            except LookupError as e:
                raise LookupError(f"secret {secret}: {e.args[0]}") from None
        case {"file": str(path)}:
            value = _read_file(secret, path)
        case {"command": [str(program), *_] as words}:
            value = _run(secret, program, list(words))
        case _:
            raise LookupError(f"secret {secret} has no source in lac.yaml")
    # editors and `echo` end a file with a newline
    value = value.strip()
    if not value:
        raise LookupError(f"secret {secret} is empty on this node")
    return value


def _read_file(secret: str, path: str) -> str:
    try:
        # a FIFO would wait for its writer
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, encoding="utf-8") as file:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise LookupError(f"secret {secret}: {path} is not a regular file")
            if mode & stat.S_IWOTH:
                raise LookupError(f"secret {secret}: file {path} may be written by everyone")
            return file.read(_MAX_SIZE)
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or "it is not text"
        raise LookupError(f"secret {secret}: file {path} can't be read: {reason}") from None


def _run(secret: str, program: str, words: list[str]) -> str:
    try:
        done = subprocess.run(  # the words are the reviewed ones of lac.yaml, without a shell
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LookupError(f"secret {secret}: `{program}` took over {_COMMAND_SECONDS:.0f} s") from None
    except OSError as e:
        raise LookupError(f"secret {secret}: `{program}` can't be run: {e.strerror}") from None
    if done.returncode:
        # what it printed may hold the secret
        raise LookupError(f"secret {secret}: `{program}` exited with {done.returncode}")
    return done.stdout[:_MAX_SIZE].decode("utf-8", "replace")


def describe_source(source: Mapping[str, Any]) -> str:
    """A source in words: `environment variable OPENAI_API_KEY`."""
    match source:
        case {"env": name}:
            return f"environment variable {name}"
        case {"file": path}:
            return f"file {path}"
        case {"command": words}:
            return f"command {json.dumps(list(words)[:1])[1:-1]}"
    return "unknown source"
