"""Endpoints of a local Ray, beside `mlflow models serve` and a bare app: same models, same requests, one run.

`wrk` (Debian's package) asks each in turn, round after round, so that a busy minute hits all of them; the CPU
of all processes that take part is read from /proc. The bare app is Starlette, orjson and numpy before the
same scikit-learn model: a lower bound.

python tests/benchmarks/bench_serving.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import ROOT

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
TICK = os.sysconf("SC_CLK_TCK")
# rows of a request, and connections that ask at once
CELLS = ((1, 8), (1, 32), (1, 1), (100, 8))
PASSWORD = "a-password-for-caller"

TRAIN = """
import json, mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("serving")
data, target = load_breast_cancer(return_X_y=True, as_frame=True)
model = LogisticRegression(max_iter=5000).fit(data, target)

class FirstColumn(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [float(value) for value in model_input.iloc[:, 0]]

signature = infer_signature(data, model.predict(data))
native = mlflow.sklearn.log_model(model, name="native", signature=signature)
signature = infer_signature(data, target.astype(float))
python = mlflow.pyfunc.log_model(name="python", python_model=FirstColumn(), signature=signature)
places = {name: mlflow.artifacts.download_artifacts(info.model_uri) for name, info in
          (("native", native), ("python", python))}
json.dump(places, open("places.json", "w"))
for rows in (1, 100):
    table = {"columns": list(data.columns), "data": data.head(rows).values.tolist()}
    json.dump({"dataframe_split": table}, open(f"{rows}.json", "w"))

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
users = SqlAlchemyStore()
users.init_db("sqlite:///users.db")
users.create_user("caller", PASSWORD)
"""

BARE = """
import sys
import mlflow.sklearn, numpy, orjson, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

model = mlflow.sklearn.load_model(sys.argv[2])

async def predict(request):
    rows = orjson.loads(await request.body())["dataframe_split"]["data"]
    predictions = model.predict(numpy.array(rows, dtype=numpy.float64))
    body = orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")

app = Starlette(routes=[Route("/invocations", predict, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""

LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
if os.getenv("SIGN_IN") ~= "" then wrk.headers["Authorization"] = os.getenv("SIGN_IN") end
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*all")
file:close()
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("%d %f %f %f %d\\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    e.status + e.connect + e.read + e.timeout))
end
"""

SETTINGS = """\
name: serving
store: sqlite:///mlflow.db
auth_store: sqlite:///users.db
serve: local
include: [stack.yaml]
"""
STACK = """\
registered_models:
  - {name: native, versions: [{version: 1, source: NATIVE}]}
  - {name: python, versions: [{version: 1, source: PYTHON}]}
roles: [{name: callers, members: [caller]}]
serving_endpoints:
  - name: one
    auth: none
    served_entities: [{name: a, entity_name: native, entity_version: 1, num_cpus: 0.1}]
  - name: basic
    permissions: [{role: callers, level: USE}]
    served_entities: [{name: a, entity_name: native, entity_version: 1, num_cpus: 0.1}]
  - name: governed
    permissions: [{role: callers, level: USE}]
    served_entities: [{name: a, entity_name: native, entity_version: 1, num_cpus: 0.1}]
    ai_gateway:
      rate_limits:
        - {calls: 1000000000, renewal_period: hour}
        - {calls: 1000000000, key: user, renewal_period: hour}
      usage_tracking_config: {enabled: true}
  - name: python
    auth: none
    served_entities: [{name: a, entity_name: python, entity_version: 1, num_cpus: 0.1}]
  - name: split
    auth: none
    served_entities:
      - {name: a, entity_name: native, entity_version: 1, num_cpus: 0.1}
      - {name: b, entity_name: native, entity_version: 1, num_cpus: 0.1}
    traffic_config:
      routes:
        - {served_entity_name: a, traffic_percentage: 50}
        - {served_entity_name: b, traffic_percentage: 50}
"""


@dataclass(frozen=True)
class Target:
    """What is asked: its URL, and the session whose processes answer."""

    name: str
    url: str
    session: int
    sign_in: str = ""


@dataclass(frozen=True)
class Figures:
    """Of one stretch: requests a second, latencies in ms, CPU in ms a request, in all and by process."""

    rate: float
    p50: float
    p99: float
    cpu: float
    errors: int
    by_process: dict[str, float] = field(default_factory=dict)


def main(rounds: int = 3, seconds: int = 4) -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install wrk")
    figures: dict[tuple[Target, int, int], list[Figures]] = {}
    with tempfile.TemporaryDirectory() as path, ExitStack() as until_done:
        directory = Path(path)
        targets = start(directory, until_done)
        (directory / "ask.lua").write_text(LUA)
        for target in targets:
            # the first requests find everything cold
            ask(directory, target, 1, 4, 1)
        for _ in range(rounds):
            for rows, connections in CELLS:
                for target in targets:
                    one = ask(directory, target, rows, connections, seconds)
                    figures.setdefault((target, rows, connections), []).append(one)
    table = {(t.name, rows, n): middle(runs) for (t, rows, n), runs in figures.items()}
    for (name, rows, connections), one in table.items():
        parts = ", ".join(f"{who} {ms:.2f}" for who, ms in one.by_process.items() if ms >= 0.02)
        print(
            f"{rows:3} rows {connections:2} connections  {name:14}  {one.rate:7.0f}/s  p50 {one.p50:6.1f}  "
            f"p99 {one.p99:6.1f} ms  CPU {one.cpu:6.2f} ms  {one.errors} errors  ({parts})"
        )
    good = [conclude(table, *cell) for cell in CELLS]
    sys.exit(0 if all(good) else 1)


def start(directory: Path, until_done: ExitStack) -> list[Target]:
    """Train the models, and start everything that is measured."""
    run(directory, sys.executable, "-c", TRAIN.replace("PASSWORD", repr(PASSWORD)))
    places = json.loads((directory / "places.json").read_text())
    (directory / "lac.yaml").write_text(SETTINGS)
    (directory / "stack.yaml").write_text(
        STACK.replace("NATIVE", places["native"]).replace("PYTHON", places["python"])
    )
    lac = (sys.executable, "-m", "lifecycle_as_code", "-C", str(directory))
    until_done.callback(run, directory, *lac, "down")
    run(directory, *lac, "apply", "--auto-approve")
    ray = json.loads((directory / ".lac" / "ray.json").read_text())
    endpoints = f"http://127.0.0.1:{ray['data_port']}/serving-endpoints"
    sign_in = "Basic " + base64.b64encode(f"caller:{PASSWORD}".encode()).decode()
    token = run(directory, *lac, "token", "create", "--user", "caller", "--expires", "1d").strip()
    sign_ins = {"basic": sign_in, "governed": f"Bearer {token}"}
    targets = []
    for number, (name, command) in enumerate(
        {
            "mlflow": ("-m", "mlflow", "models", "serve", "--env-manager", "local", "-m", places["native"]),
            "mlflow python": (
                "-m",
                "mlflow",
                "models",
                "serve",
                "--env-manager",
                "local",
                "-m",
                places["python"],
            ),
            "bare": ("-c", BARE),
        }.items()
    ):
        port = 18_500 + number
        rest = (str(port), places["native"]) if name == "bare" else ("-p", str(port))
        session = until_done.enter_context(server(directory, port, *command, *rest))
        targets.append(Target(name, f"http://127.0.0.1:{port}/invocations", session))
    # an entity in an app of its own, which the ingress calls
    hop = Target("hop", f"{endpoints}/split/served-entities/b/invocations", ray["pid"])
    return [*targets, hop] + [
        Target(name, f"{endpoints}/{name}/invocations", ray["pid"], sign_ins.get(name, ""))
        for name in ("one", "basic", "governed", "split", "python")
    ]


@contextmanager
def server(directory: Path, port: int, *arguments: str) -> Iterator[int]:
    """A Python program that answers on a port, in a session of its own; its number."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until_it_answers(port)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def until_it_answers(port: int) -> None:
    import socket

    for _ in range(600):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    sys.exit(f"nothing listens on port {port}")


def run(directory: Path, *command: str) -> str:
    """The command's output."""
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def ask(directory: Path, target: Target, rows: int, connections: int, seconds: int) -> Figures:
    """Ask for some seconds, as fast as answers come."""
    before = ticks(target.session)
    output = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", "ask.lua", target.url],
        cwd=directory,
        env={**ENVIRONMENT, "BODY": f"{rows}.json", "SIGN_IN": target.sign_in},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    after = ticks(target.session)
    count, duration, p50, p99, errors = output.splitlines()[-1].split()
    each = max(int(count), 1)
    by_process: dict[str, float] = {}
    for pid, (name, used) in after.items():
        ms = 1000 * (used - before.get(pid, (name, 0))[1]) / TICK / each
        by_process[name] = by_process.get(name, 0.0) + ms
    by_process = dict(sorted(by_process.items(), key=lambda one: -one[1])[:5])
    cpu = sum(1000 * (used - before.get(pid, ("", 0))[1]) / TICK / each for pid, (_, used) in after.items())
    return Figures(each / float(duration), float(p50), float(p99), cpu, int(errors), by_process)


def ticks(session: int) -> dict[int, tuple[str, int]]:
    """Name and CPU ticks of a session's processes."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if int(fields[3]) == session:
                found[int(entry.name)] = (title(command), int(fields[11]) + int(fields[12]))
    return found


def title(command: str) -> str:
    """A process as the table names it: Ray's by what they do, others by their program."""
    if match := re.match(r"ray::([^ .(]+)", command):
        return match[1]
    return Path(command.split(" ")[0]).name


def middle(runs: list[Figures]) -> Figures:
    """The medians, and all errors."""

    def median(name: str) -> float:
        return statistics.median(getattr(one, name) for one in runs)

    last: Any = sorted(runs, key=lambda one: one.cpu)[len(runs) // 2]
    errors = sum(one.errors for one in runs)
    return Figures(*map(median, ("rate", "p50", "p99", "cpu")), errors, last.by_process)


GOALS = {(1, 8): (15, 13), (1, 32): (13, 13), (1, 1): (10, 10), (100, 8): (10, 10)}
"""How many times as many requests as MLflow's server: one entity, and the same with basic auth."""


def conclude(table: dict[tuple[str, int, int], Figures], rows: int, connections: int) -> bool:
    """Print the ratios of one cell; whether they reach their goals."""

    def of(name: str) -> Figures:
        return table[name, rows, connections]

    peer, bare, one = of("mlflow"), of("bare"), of("one")
    open_goal, basic_goal = GOALS[rows, connections]
    ratios = {
        "one entity": (one.rate / peer.rate, open_goal),
        "basic auth": (of("basic").rate / peer.rate, basic_goal),
        # one connection waits out the hop of every second request
        "split 50/50": (of("split").rate / peer.rate, 5 if connections == 1 else 6),
        "python model": (of("python").rate / of("mlflow python").rate, 2),
    }
    told = "  ".join(f"{name} {ratio:.2f} (goal {goal})" for name, (ratio, goal) in ratios.items())
    print(f"{rows} x {connections}: times MLflow's requests: {told}")
    governed = of("governed").rate / one.rate
    print(f"    with a token, two limits and usage tracking: {governed:.2f} of one entity's (goal 0.85)")
    print(
        f"    one entity beside the bare app: {one.rate / bare.rate:.2f} of its requests, "
        f"{one.cpu / bare.cpu:.2f} times its CPU (goal 2.5); "
        f"p99 {one.p99:.0f} ms beside MLflow's p50 {peer.p50:.0f}"
    )
    near_bare = one.cpu / bare.cpu <= 2.5 and one.p99 < peer.p50
    return near_bare and governed >= 0.85 and all(ratio >= goal for ratio, goal in ratios.values())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
