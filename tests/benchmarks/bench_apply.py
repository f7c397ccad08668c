"""The first apply, beside a script that makes the same with MLflow's client.

The script makes a part of it, and its time beyond the start is extrapolated in proportion, which favours it:
MLflow's searches get slower as the registry grows, ours read it once.

python tests/benchmarks/bench_apply.py [MODELS] [VERSIONS] [RUNS]
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measure import conclude, cpu

PART = 20
"""The script makes one in so many models."""

SCRIPT = """
import sys
from mlflow import MlflowClient

client = MlflowClient(sys.argv[1], sys.argv[1])
versions = int(sys.argv[3])
client.search_registered_models(max_results=1)
for number in range(int(sys.argv[2])):
    name = f"model-{number:05}"
    client.create_registered_model(name, {"team": "risk", "tier": "gold"}, "Scores payments.")
    for version in range(1, versions + 1):
        source = f"s3://bucket/{name}/{version}"
        client.create_model_version(name, source, tags={"validation_status": "approved"})
    client.set_registered_model_alias(name, "champion", str(versions))
"""


def main(count: int = 1000, versions: int = 5, runs: int = 3) -> None:
    from support.command import LAC, Directory, models
    from support.mlflow_fixture import fresh_sqlite

    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as path:
        directory = Path(path)
        store = fresh_sqlite(directory)
        stack = Directory(directory / "stack").settings(store).declare(models(count, versions))
        script = [sys.executable, "-c", SCRIPT, store]
        for _ in range(runs + 1):
            shutil.copyfile(fresh_sqlite(directory, name="empty.db").removeprefix("sqlite:///"), store[10:])
            ours.append(cpu([*LAC, "-C", str(stack.path), "apply", "--auto-approve"], directory))
            shutil.copyfile(fresh_sqlite(directory, name="empty.db").removeprefix("sqlite:///"), store[10:])
            start = cpu([*script, "0", str(versions)], directory)
            part = cpu([*script, str(count // PART), str(versions)], directory)
            theirs.append(start + (part - start) * count / (count // PART))
    # the first round only warms up
    plain, script_time = statistics.median(ours[1:]), statistics.median(theirs[1:])
    print(f"{count} models x {versions} versions on SQLite, made")
    print(f"{'lac apply':>44}  {plain:8.3f} s CPU   ({runs} runs)")
    print(f"{'a script with MlflowClient':>44}  {script_time:8.3f} s CPU   (from 1/{PART} of the models)")
    conclude(script_time / plain, 10, at_least=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
