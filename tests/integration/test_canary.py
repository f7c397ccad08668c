"""A secret wherever a secret may stand, and nowhere else: no output, file, table, log or traceback has it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from support.command import LAC, PATIENCE, environment, warm_process
from support.loopback_ray import LoopbackRay, loopback_ray
from support.mlflow_fixture import drop_postgres, fresh_postgres, postgres_data, postgres_server
from support.shared import once

CORE = "Kanarienvogel7f3c"
"""What no encoding of single characters changes."""
CANARY = f'{CORE}"/+@\\:#?9'
"""A value that is told in other words by JSON, by an address and by Python's repr."""
WRONG = CANARY.replace("9", "8")
ROLE = "canary"

SETTINGS = """\
name: payments
store: "{{ env.MLFLOW_STORE }}"
auth_store: "{{ env.MLFLOW_AUTH_STORE }}"
serve:
  address: "{{ env.RAY_ADDRESS }}"
  data_address: "{{ env.RAY_DATA_ADDRESS }}"
  token: "{{ env.RAY_TOKEN }}"
  runtime_env:
    env_vars: {OF_THE_CLUSTER: "{{ env.SECRET_OF_THE_CLUSTER }}"}
environments:
  mistyped: {store: "{{ env.MISTYPED }}"}
  nowhere: {serve: "{{ env.NOWHERE }}"}
  filtered: {store: "{{ env.SECRET_OF_THE_NODE | int }}"}
"""
MANIFEST = """\
registered_models:
  - name: fraud
    versions: [{version: 1, source: s3://bucket/1}, {version: 2, source: s3://bucket/2}]
    aliases: {champion: NUMBER}
roles:
  - {name: callers, description: May ask.}
permissions:
  - {role: callers, resource_type: serving_endpoint, resource: fraud, level: USE}
serving_endpoints:
  - name: fraud
    served_entities:
      - name: champion
        entity_name: fraud
        entity_version: "@champion"
        environment_vars: {KEY: "{{ env.SECRET_OF_THE_NODE }}"}
"""


def forms(core: str = CORE) -> dict[str, bytes]:
    """What to look for. An encoding of single characters leaves the core as it is."""
    found = {"plain": core.encode(), "hex": core.encode().hex().encode()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + core.encode()).rstrip(b"=")
        # the first and the last digits hold bits of what stands beside it
        found[f"base64 at {offset}"] = encoded[2 + offset : -2]
    return found


FORMS = forms()


def leaks(data: bytes) -> list[str]:
    """The forms in which the secret stands there."""
    return [name for name, form in FORMS.items() if form in data or form.upper() in data]


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: quote(text, safe="").encode(),
        lambda text: json.dumps(text).encode(),
        lambda text: repr(text).encode(),
        lambda text: base64.b64encode(text.encode()),
        lambda text: base64.urlsafe_b64encode(text.encode()),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
    ],
    ids=["plain", "in an address", "in JSON", "in Python", "base64", "base64url", "hex", "HEX"],
)
def test_the_search_finds_it_in_every_form(before: str, encode: Callable[[str], bytes]) -> None:
    assert leaks(encode(before + CANARY))


@dataclass
class House:
    """A stack with the canary in every place that may hold a secret, and all that its commands said."""

    root: Path
    store: str
    ray: LoopbackRay
    environ: dict[str, str]
    said: dict[str, bytes] = field(default_factory=dict)

    @property
    def stack(self) -> Path:
        return self.root / "stack"

    def declare(self, champion: int) -> None:
        (self.stack / "models.yaml").write_text(MANIFEST.replace("NUMBER", str(champion)))

    def lac(self, *args: str, expect: int = 0, **environ: str) -> str:
        """Run the command with tracebacks; what it said, and what other processes could see of it, is
        kept."""
        process = subprocess.Popen(
            [*LAC, "-C", str(self.stack), *args],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        seen = [Path(f"/proc/{process.pid}/cmdline").read_bytes()]
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                out, err = process.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                seen += _children(process.pid)
        self._check(process.returncode, expect, [out, err, *seen], [*args, *environ])
        return (out + err).decode()

    def fork_lac(self, *args: str, expect: int = 0, **environ: str) -> str:
        """As `lac`, in a fork, which soon is there; what it said is kept."""
        ran = warm_process().command(
            *("-C", str(self.stack), *args),
            environ={**self.environ, **environ},
            directory=Path.cwd(),
            seconds=PATIENCE,
        )
        self._check(ran.code, expect, [ran.out, ran.err], [*args, *environ])
        return (ran.out + ran.err).decode()

    def _check(self, code: int, expected: int, said: list[bytes], words: list[str]) -> None:
        name = f"{len(self.said)}: lac {' '.join(words)}"
        self.said[name] = b"\n".join(said)
        assert code == expected, f"{name}: {code}\n{self.said[name].decode()}"


def _children(pid: int) -> list[bytes]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [Path(f"/proc/{child}/cmdline").read_bytes() for child in found]
    except OSError:
        # it is gone already
        return []


def _with_a_password(url: str) -> str:
    return make_url(url).set(username=ROLE, password=CANARY).render_as_string(hide_password=False)


def _ask_for_passwords() -> str:
    """The server believes everybody; not that role, which this returns."""
    server = create_engine(postgres_server(), isolation_level="AUTOCOMMIT")
    with server.connect() as db:
        literal = CANARY.replace("'", "''")
        db.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{literal}'")
        rules = postgres_data() / "pg_hba.conf"
        rules.write_text(f"local all {ROLE} scram-sha-256\n{rules.read_text()}")
        db.execute(text("SELECT pg_reload_conf()"))
    server.dispose()
    return ROLE


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    once("postgresql-passwords", _ask_for_passwords)
    store = fresh_postgres()
    secret = quote(CANARY, safe="")
    with loopback_ray() as ray:
        here = f"{secret}:{secret}@127.0.0.1:{ray.port}"
        environ = {
            **environment(),
            "LAC_DEBUG": "1",
            "LAC_PLAN_KEY": CANARY,
            "MLFLOW_STORE": _with_a_password(store),
            "MLFLOW_AUTH_STORE": _with_a_password(store),
            "MLFLOW_TRACKING_USERNAME": "ann",
            "MLFLOW_TRACKING_PASSWORD": CANARY,
            "RAY_ADDRESS": f"http://{here}",
            "RAY_DATA_ADDRESS": f"http://{here}",
            "RAY_TOKEN": CANARY,
            "SECRET_OF_THE_NODE": CANARY,
            "SECRET_OF_THE_CLUSTER": CANARY,
            "TMPDIR": str(tmp_path / "tmp"),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        (tmp_path / "tmp").mkdir()
        made = House(tmp_path, store, ray, environ)
        made.stack.mkdir()
        (made.stack / "lac.yaml").write_text(SETTINGS)
        made.declare(1)
        _commit(made.stack, f"https://ann:{secret}@git.example/registry.git?token={secret}")
        yield made
    drop_postgres(store)


def _commit(directory: Path, remote: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    for command in (
        ("init", "-q"),
        ("remote", "add", "origin", remote),
        ("add", "."),
        (*who, "commit", "-qm", "x"),
    ):
        subprocess.run(["git", "-C", str(directory), *command], check=True, capture_output=True)


def _tables(url: str) -> Iterator[tuple[str, bytes]]:
    engine = create_engine(url)
    with engine.connect() as db:
        for table in inspect(db).get_table_names():
            rows = db.exec_driver_sql(f'SELECT t::text FROM "{table}" t').scalars()
            yield table, "\n".join(rows).encode()
    engine.dispose()


def _written(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.rglob("*")):
        # it was planted there
        if path.is_file() and path != root / "stack" / ".git" / "config":
            yield str(path), path.read_bytes()


def _everything_works(house: House) -> None:
    """What starts other processes, or prints what it plans or did, is watched as a process of its own."""
    plan = str(house.root / "plan.json")
    house.fork_lac("validate")
    house.lac("plan", "--json", "-o", plan)
    house.fork_lac("show", plan)
    house.lac("apply", plan, "--json")
    house.declare(2)
    house.lac("drift", "--json")
    stale = str(house.root / "stale.json")
    house.fork_lac("plan", "-o", stale)
    house.lac("apply", "--auto-approve")
    assert "error[stale-plan]" in house.fork_lac("apply", stale, expect=1)
    told = house.lac("history", "--json")
    assert '"remote": "https://git.example/registry.git"' in told
    house.fork_lac("history", "serving_endpoint.fraud")
    house.fork_lac("show", "serving_endpoint.fraud", "--json")
    house.fork_lac("show", "--at", "2999-01-01")
    house.fork_lac("state", "list")
    house.fork_lac("state", "show", "serving_endpoint.fraud")
    house.lac("rollback", "model_alias.fraud/champion", "--json", "-o", str(house.root / "back.json"))
    house.fork_lac("force-unlock", "--force", "nonsense", expect=1)
    MlflowClient(house.store, house.store).create_registered_model("another")
    house.fork_lac("import", "registered_model.another")


def _failures_tell_nothing(house: House) -> None:
    secret = quote(CANARY, safe="")
    store, ray = house.environ["MLFLOW_STORE"], house.environ["RAY_ADDRESS"]
    at = make_url(store)
    cases: dict[str, tuple[str, dict[str, str]]] = {
        "a wrong password": (
            "store-login-failed",
            {"MLFLOW_STORE": at.set(password=WRONG).render_as_string(hide_password=False)},
        ),
        "no such database": (
            "store-unreachable",
            {"MLFLOW_STORE": at.set(database="nowhere").render_as_string(hide_password=False)},
        ),
        "no server": (
            "store-unreachable",
            {"MLFLOW_STORE": f"postgresql://lac:{secret}@127.0.0.1:1/mlflow?sslpassword={secret}"},
        ),
        "no Ray": ("ray-unreachable", {"RAY_ADDRESS": ray.replace(str(house.ray.port), "1")}),
    }
    for what, (code, environ) in cases.items():
        said = house.fork_lac("plan", expect=1, **environ)
        assert f"error[{code}]" in said, what
    mistyped = {
        "a scheme": f"posgresql://lac:{secret}@db/mlflow",
        "a port": f"postgresql://lac@db:{secret}/mlflow",
        "a password that isn't encoded": f"postgresql://lac:x@{CORE}@db/mlflow",
        "no scheme": CANARY,
        "parameters of a file": f"sqlite:///mlflow.db?key={secret}",
    }
    for what, address in mistyped.items():
        said = house.fork_lac("-e", "mistyped", "plan", expect=1, MISTYPED=address)
        assert "error[unsupported-store]" in said, what
    for what, address in {
        "a scheme": f"htp://{secret}@head:8265",
        "a port": f"http://head:{secret}",
        "brackets": f"http://[{secret}]:8265",
    }.items():
        said = house.fork_lac("-e", "nowhere", "validate", expect=1, NOWHERE=address)
        assert "error[bad-value]" in said, what
    house.fork_lac("-e", "filtered", "validate", expect=1)
    for status, code in ((401, "ray-unauthorized"), (404, "ray-without-serve"), (400, "ray-refused")):
        house.ray.refusing = status
        assert f"error[{code}]" in house.fork_lac("apply", "--auto-approve", "--json", expect=1)
    house.ray.refusing = 0


def test_the_secret_is_found_nowhere_that_it_was_not_put(house: House) -> None:
    _everything_works(house)
    _failures_tell_nothing(house)
    found = {
        place: forms
        for place, data in (
            *house.said.items(),
            *_written(house.root),
            *_tables(house.store),
            *((f"PUT {n}", body.encode()) for n, body in enumerate(house.ray.bodies)),
        )
        if (forms := leaks(data))
    }
    assert found == {}
    # it was in use all the while
    assert re.search(f"Bearer {re.escape(CANARY)}", "\n".join(house.ray.headers))
    assert len(house.ray.bodies) >= 4
