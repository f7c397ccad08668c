"""Measure whole processes beside each other. CPU seconds, since machines that run tests are shared."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration")]


def cpu(command: Sequence[str], directory: Path) -> float:
    """CPU seconds of one process and those that it started, user and system."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beside(commands: Mapping[str, Sequence[str]], directory: Path, runs: int) -> dict[str, float]:
    """Medians of each command's CPU seconds, run in turns, so that a busy minute hits all of them."""
    for command in commands.values():
        # once for the bytecode and the file cache
        cpu(command, directory)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            seconds[name].append(cpu(command, directory))
    for name, found in seconds.items():
        spread = f"{min(found):.3f} … {max(found):.3f}"
        print(f"{name:>44}  {statistics.median(found):8.3f} s CPU   ({spread}, {runs} runs)")
    return {name: statistics.median(found) for name, found in seconds.items()}


def conclude(ratio: float, goal: float, *, at_least: bool) -> None:
    """Print the ratio; end with 1 where it misses its goal."""
    good = ratio >= goal if at_least else ratio <= goal
    print(f"{'ratio':>44}  {ratio:8.2f}     (goal: {'at least' if at_least else 'at most'} {goal})")
    sys.exit(0 if good else 1)
