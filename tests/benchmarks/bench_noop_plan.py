"""A plan that finds nothing to do, beside a script that asks MLflow's client about each model.

Both start from nothing and read the same SQLite database. One script compares what the plan compares: the
models' descriptions, tags and aliases, and every version's source, description and tags. The other one leaves
the models themselves out. The plan reads and checks its YAML besides, and our records.

python tests/benchmarks/bench_noop_plan.py [MODELS] [VERSIONS] [RUNS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import beside, conclude

SCRIPT = """
import sys
from mlflow import MlflowClient

client = MlflowClient(sys.argv[1], sys.argv[1])
for number in range(int(sys.argv[2])):
    name = f"model-{number:05}"
    found = {int(v.version): v for v in client.search_model_versions(f"name = '{name}'")}
    assert len(found) == int(sys.argv[3])
    if sys.argv[4] == "models":
        model = client.get_registered_model(name)
        assert model.description == "Scores payments."
        assert model.tags == {"team": "risk", "tier": "gold"}
        assert {a: int(n) for a, n in model.aliases.items()} == {"champion": int(sys.argv[3])}
    for version, held in found.items():
        assert held.source == f"s3://bucket/{name}/{version}"
        assert held.description == ""
        assert held.tags == {"validation_status": "approved"}
"""


def main(count: int = 1000, versions: int = 5, runs: int = 3) -> None:
    from support.command import LAC, Directory, models
    from support.mlflow_fixture import fresh_sqlite

    with tempfile.TemporaryDirectory() as path:
        directory = Path(path)
        store = fresh_sqlite(directory)
        stack = Directory(directory / "stack").settings(store).declare(models(count, versions))
        stack.lac("apply", "--auto-approve")
        print(f"{count} models x {versions} versions on SQLite, nothing to do")
        plan, same, less = "lac plan", "a script that checks the same", "a script that checks versions only"
        script = [sys.executable, "-c", SCRIPT, store, str(count), str(versions)]
        found = beside(
            {
                plan: [*LAC, "-C", str(stack.path), "plan", "--detailed-exitcode"],
                same: [*script, "models"],
                less: [*script, "versions"],
            },
            directory,
            runs,
        )
    print(f"{'ratio to versions only':>44}  {found[less] / found[plan]:8.2f}")
    conclude(found[same] / found[plan], 10, at_least=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
