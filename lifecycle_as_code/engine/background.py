"""Slow work in a thread, so that its progress can be shown and its wait be ended by a signal."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

from ..model.events import Progress

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - asked for, so not an error
    """The caller asked to stop; raised inside a wait, so that what was begun is undone."""


def in_background(
    work: Callable[[Callable[[str], None]], T], stop: Callable[[], bool]
) -> Generator[Progress, None, T]:
    """Yield the lines that `work` tells, as events; return its result, or raise what it raised.

    Once `stop()` is true, the next `tell` inside `work` raises Stopped there. An empty line is a sign of
    life and isn't yielded.
    """
    said: queue.Queue[str | None] = queue.Queue()
    result: list[T] = []
    problem: list[BaseException] = []

    def tell(line: str) -> None:
        if stop():
            raise Stopped
        said.put(line)

    def run() -> None:
        try:
            result.append(work(tell))
        except BaseException as error:
            problem.append(error)
        finally:
            said.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while (line := said.get()) is not None:
        if line:
            yield Progress(line)
    thread.join()
    if problem:
        raise problem[0]
    return result[0]
