"""Models that stream: the events are what `predict_stream` yields, the answers those of MLflow's server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import chat_models
from support.mlflow_server import ask

from lifecycle_as_code.serving.answer import JSON, Answer
from lifecycle_as_code.serving.scoring import Scorer

pytestmark = pytest.mark.filterwarnings("ignore")

KINDS = [chat_models.Chat, chat_models.Agent, chat_models.Responses, chat_models.Words]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return chat_models.load(request.param, tmp_path_factory.mktemp("model") / "model")


def body_for(model: Any, text: str, **more: Any) -> bytes:
    key = "input" if "Responses" in type(model._model_impl).__name__ else "messages"
    return json.dumps({key: [{"role": "user", "content": text}], **more}).encode()


def events(answer: Answer | Iterator[bytes]) -> list[Any]:
    assert not isinstance(answer, Answer), answer
    texts = [event.decode() for event in answer]
    assert all(text.startswith("data: ") and text.endswith("\n\n") for text in texts)
    assert texts.pop() == "data: [DONE]\n\n"
    return [json.loads(text[6:]) for text in texts]


def test_a_chat_gets_the_answers_of_mlflows_server(model: Any) -> None:
    from mlflow.pyfunc import scoring_server

    bodies = [
        body_for(model, "good day"),
        body_for(model, "good day", max_tokens=7, custom_inputs={"a": 1}),
        body_for(model, "good day", stream=False),
        body_for(model, "good day", nonsense=True),
        b'{"messages": []}',
        b'{"messages": "hello"}',
        b'{"input": 3}',
        b'{"prompt": "hello"}',
    ]
    theirs = asyncio.run(ask(scoring_server.init(model), bodies))
    scorer = Scorer(model)
    for body, (status, media_type, content) in zip(bodies, theirs, strict=True):
        assert not scorer.streams(body)
        answer = scorer.score(body, JSON)
        if status == 500:
            assert answer.status == 500
        else:
            assert (answer.status, answer.media_type, answer.body) == (status, media_type, content)


def test_a_stream_has_an_event_for_each_chunk(model: Any) -> None:
    scorer = Scorer(model)
    body = body_for(model, "good day", stream=True)
    assert scorer.streams(body)
    said = events(scorer.stream(body, JSON))
    assert len(said) == 2
    assert "good" in json.dumps(said[0])
    assert "day" in json.dumps(said[1])


def test_a_model_that_fails_on_the_way_ends_the_stream_with_the_error(model: Any) -> None:
    said = events(Scorer(model).stream(body_for(model, "good fail", stream=True), JSON))
    assert said[1:] == [{"error": "no more words"}]


def test_what_fails_before_the_first_event_has_a_status(model: Any) -> None:
    answer = Scorer(model).stream(body_for(model, "fail", stream=True), JSON)
    assert isinstance(answer, Answer)
    assert answer.status == 500
    assert "no more words" in json.loads(answer.body)["message"]


def test_a_model_that_cant_stream_is_asked_for_one_answer(tmp_path: Path) -> None:
    import mlflow.pyfunc

    class Silent(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
            return "no"

    scorer = Scorer(chat_models.load(Silent, tmp_path / "model"))
    assert not scorer.streams(b'{"messages": [], "stream": true}')
