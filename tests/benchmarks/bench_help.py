"""`lac --help` beside `python -c "import click"`: the command starts with click and little else.

python tests/benchmarks/bench_help.py [RUNS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from measure import ROOT, beside, conclude


def main(runs: int = 21) -> None:
    lac = str(Path(sys.executable).with_name("lac"))
    found = beside(
        {
            'python -c "import click"': [sys.executable, "-c", "import click"],
            "lac --help": [lac, "--help"],
            "lac --version": [lac, "--version"],
        },
        ROOT,
        runs,
    )
    conclude(found["lac --help"] / found['python -c "import click"'], 1.5, at_least=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
