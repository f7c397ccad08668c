"""Whichever way an answer takes, it is the one of MLflow's server: status, media type and body."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import pytest
from support import flavors
from support.mlflow_server import ask

from lifecycle_as_code.serving.scoring import JSON, Scorer

if TYPE_CHECKING:
    from pathlib import Path

MODELS = flavors.flavors()

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", MODELS)
def test_generated_requests_get_the_answers_of_mlflows_server(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from mlflow.pyfunc import scoring_server

    count = 600 if request.config.getoption("--everywhere") else 60
    model = flavors.load(MODELS[name], tmp_path / "model")
    bodies = list(flavors.requests(model, seed=zlib.crc32(name.encode()), count=count))
    theirs = asyncio.run(ask(scoring_server.init(model), bodies))

    scorer = Scorer(model)
    quick = 0
    for body, (status, media_type, content) in zip(bodies, theirs, strict=True):
        answer = scorer.score(body, JSON)
        if status == 500:
            # MLflow's server breaks there, and says no more
            assert answer.status == 500, body
            continue
        assert (answer.status, answer.media_type, answer.body) == (status, media_type, content), body
        if (direct := scorer._from_array(body, JSON)) is not None:
            assert direct == answer, body
            quick += 1
    assert (quick > 0.3 * count) if MODELS[name].fast else quick == 0
