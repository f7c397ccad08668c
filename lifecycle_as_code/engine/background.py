"""Slow work in a thread: its progress becomes events, and a signal can end its wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TypeVar

from ..model.events import Progress

T = TypeVar("T")


class StopRequest(Exception):  # noqa: N818 - a request, not an error
    """The caller asked to stop. Raised inside a wait, so that the work undoes itself."""


def run_in_background(
    work: Callable[[Callable[[str], None]], T], stop: Callable[[], bool]
) -> Generator[Progress, None, T]:
    """Yield the lines of progress that `work` reports; return its result, or raise its error. Once `stop()`
    is true, the next `tell` inside `work` raises StopRequest. Empty lines aren't yielded."""
    lines: queue.Queue[str | None] = queue.Queue()
    result: Future[T] = Future()

    def tell(line: str) -> None:
        if stop():
            raise StopRequest
        lines.put(line)

    def run() -> None:
        try:
            result.set_result(work(tell))
        except BaseException as error:
            result.set_exception(error)
        finally:
            lines.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while (line := lines.get()) is not None:
        if line:
            yield Progress(line)
    thread.join()
    return result.result()
