"""What we say that users may do is what MLflow lets them do: its running server, and its own functions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from support.access_cases import MODEL, OTHER, PASSWORD, VERSION, Dice, Request, lets_through, requests
from support.auth_client import V2, Mlflow
from support.mlflow_fixture import MlflowServer, fresh_sqlite

from lifecycle_as_code.model.access import AccessState
from lifecycle_as_code.review.access.effective import Effective
from lifecycle_as_code.stores.mlflow.auth import read_access_state
from lifecycle_as_code.stores.sql.store import open_store, reading, writing

CASES = 540
THREADS = 4


@pytest.fixture(scope="module")
def mlflow(basic_auth_server: MlflowServer) -> Iterator[Mlflow]:
    with httpx.Client(base_url=basic_auth_server.url, timeout=60) as http:
        yield Mlflow(basic_auth_server, http)


def test_the_running_server_lets_through_what_the_level_says(mlflow: Mlflow) -> None:
    """Its default permission is NO_PERMISSIONS; each case is a user, a model and a request."""
    models = [mlflow.model() for _ in range(4)]
    for model in models:
        mlflow.done("POST", f"{V2}/model-versions/create", name=model, source="s3://models/1")
    dice = Dice(random.Random(4), models)
    with mlflow.writing() as db:
        people = dice.fill(db.grants, "case", people=180, kinds_of_people=60)
        state = read_access_state(db.grants, db.registry, "default", default_permission="NO_PERMISSIONS")
    effective = Effective(state)
    cases: list[tuple[str, str, str, Request]] = []
    for number in range(CASES):
        model = dice.random.choice(models)
        about, request = [*requests(model).items()][number % 6]
        cases.append((people[number % len(people)], model, about, request))

    def ask(share: list[tuple[str, str, str, Request]]) -> list[int]:
        """One thread's share of the questions, over one connection."""
        with httpx.Client(base_url=mlflow.server.url, timeout=60) as http:
            return [status(http, user, request) for user, _, _, request in share]

    with ThreadPoolExecutor(THREADS) as threads:
        shares = [cases[start::THREADS] for start in range(THREADS)]
        answers = [*threads.map(ask, shares)]
    wrong, seen = [], Counter[tuple[str, bool]]()
    for share, codes in zip(shares, answers, strict=True):
        for (user, model, about, request), code in zip(share, codes, strict=True):
            decision = effective.decide(user, request.type, model)
            expected = lets_through(decision.level, request.needs)
            seen[about, expected] += 1
            if (code != 403) is not expected:
                wrong.append(f"{user} {about} {model}: {code}, and we say {decision}")
    assert not wrong, "\n".join(wrong)
    # no request that is always let through, or never, would show anything
    assert min(seen[about, expected] for about in requests("") for expected in (True, False)) >= 10, seen


def status(http: httpx.Client, user: str, request: Request) -> int:
    body: dict[str, Any] = {"params" if request.method == "GET" else "json": dict(request.body)}
    reply = http.request(request.method, request.path, auth=(user, PASSWORD), **body)
    assert reply.status_code in (200, 400, 403, 404), (request, reply.text)
    return reply.status_code


@dataclass
class Oracle:
    """MLflow's own functions in this process, over an auth database of their own."""

    auth: Any
    patch: pytest.MonkeyPatch
    effective: Effective
    people: list[str]

    def on_model(self, user: str, model: str) -> str:
        """As `users/permissions/get` works it out."""
        ask = self.auth._role_permission_for_known_workspace
        given = self.auth._get_role_permission_or_default(ask(user, MODEL, model, self.effective.workspace))
        return str(given.name)

    def on_versions(self, user: str, model: str) -> dict[str, bool]:
        """As the routes are guarded, by the level that each of them takes."""
        self.patch.setattr(self.auth, "authenticate_request", lambda: SimpleNamespace(username=user))
        self.patch.setattr(self.auth, "_registered_model_or_prompt_target", lambda: (MODEL, model))
        return {
            "READ": self.auth.validate_can_read_model_or_prompt_version(),
            "EDIT": self.auth.validate_can_update_model_or_prompt_version(),
            "MANAGE": self.auth.validate_can_delete_model_or_prompt_version(),
        }


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, AccessState, list[str]]:
    """MLflow's module of basic-auth over a database with people in it; what we read of that; the people."""
    from mlflow.server import auth

    directory = tmp_path_factory.mktemp("oracle")
    auth_url, url = fresh_sqlite(directory, "auth"), fresh_sqlite(directory)
    stores = (
        open_store(auth_url, role="auth", base=directory),
        open_store(url, role="tracking", base=directory),
    )
    with writing(stores[0]) as db, reading(stores[1]) as registry:
        people = Dice(random.Random(5), MODELS).fill(db, "user", people=24, kinds_of_people=12)
        state = read_access_state(db, registry, OTHER, default_permission="READ")
    auth.store.init_db(auth_url)
    return auth, state, people


MODELS = ["fraud", "churn"]


@pytest.fixture(params=["READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS"])
def default_permission(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["default", "default, granted", OTHER])
def oracle(
    request: pytest.FixtureRequest,
    default_permission: str,
    in_process: tuple[Any, AccessState, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Oracle:
    """With workspaces enabled for another one than `default`, or for one that MLflow gives to everybody."""
    auth, state, people = in_process
    workspace, _, granted = request.param.partition(", ")
    config = auth.auth_config._replace(
        default_permission=default_permission, grant_default_workspace_access=bool(granted)
    )
    monkeypatch.setattr(auth, "auth_config", config)
    monkeypatch.setattr(auth, "_get_workspace_store", lambda: None)
    known = SimpleNamespace(name="default"), True
    monkeypatch.setattr(auth, "get_default_workspace_optional", lambda _: known)
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "false" if request.param == "default" else "true")
    monkeypatch.setattr(auth, "get_anchor_workspace", lambda *_: workspace)
    state = replace(state, default_permission=default_permission)
    return Oracle(auth, monkeypatch, Effective(state, workspace), people)


def test_mlflow_s_own_functions_say_the_same(oracle: Oracle) -> None:
    """For every default permission, with and without workspaces; administrators are let in before these."""
    for user in oracle.people:
        if oracle.effective.state.users[user]:
            continue
        for model in MODELS:
            decided = oracle.effective.decide(user, MODEL, model)
            assert decided.level == oracle.on_model(user, model), (user, model, decided)
            decided = oracle.effective.decide(user, VERSION, model)
            ours = {needs: lets_through(decided.level, needs) for needs in ("READ", "EDIT", "MANAGE")}
            assert ours == oracle.on_versions(user, model), (user, model, decided)
