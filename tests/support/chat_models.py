"""Models that stream, one of each sort that MLflow knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.types.agent import ChatAgentChunk, ChatAgentMessage, ChatAgentResponse
from mlflow.types.llm import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionResponse,
)
from mlflow.types.llm import ChatMessage as Message
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent


class Chat(mlflow.pyfunc.ChatModel):  # type: ignore[misc]  # mlflow is untyped
    """A ChatModel that repeats what it hears."""

    def predict(self, context: Any, messages: list[Message], params: Any) -> ChatCompletionResponse:
        choice = ChatChoice(
            index=0, message=Message("assistant", f"{messages[-1].content}, {params.max_tokens}")
        )
        return ChatCompletionResponse(choices=[choice], model="echo", created=1)

    def predict_stream(
        self, context: Any, messages: list[Message], params: Any
    ) -> Iterator[ChatCompletionChunk]:
        for word in messages[-1].content.split():
            if word == "fail":
                raise ValueError("no more words")
            choice = ChatChunkChoice(index=0, delta=ChatChoiceDelta(role="assistant", content=word))
            yield ChatCompletionChunk(choices=[choice], model="echo", created=1)


class Agent(mlflow.pyfunc.ChatAgent):  # type: ignore[misc]  # mlflow is untyped
    """A ChatAgent that repeats what it hears."""

    def predict(self, messages: Any, context: Any = None, custom_inputs: Any = None) -> ChatAgentResponse:
        reply = ChatAgentMessage(role="assistant", content=messages[-1].content, id="1")
        return ChatAgentResponse(messages=[reply], custom_outputs=custom_inputs)

    def predict_stream(
        self, messages: Any, context: Any = None, custom_inputs: Any = None
    ) -> Iterator[ChatAgentChunk]:
        for word in messages[-1].content.split():
            if word == "fail":
                raise ValueError("no more words")
            yield ChatAgentChunk(delta=ChatAgentMessage(role="assistant", content=word, id="1"))


class Responses(mlflow.pyfunc.ResponsesAgent):  # type: ignore[misc]  # mlflow is untyped
    """A ResponsesAgent that repeats what it hears."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        item = self.create_text_output_item(str(request.input[-1].content), "1")
        return ResponsesAgentResponse(output=[item])

    def predict_stream(self, request: ResponsesAgentRequest) -> Iterator[ResponsesAgentStreamEvent]:
        for word in str(request.input[-1].content).split():
            if word == "fail":
                raise ValueError("no more words")
            yield ResponsesAgentStreamEvent(**self.create_text_delta(word, "1"))


class Words(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
    """A PythonModel without a signature that streams."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
        return model_input["messages"]

    def predict_stream(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
        for word in model_input["messages"][-1]["content"].split():
            if word == "fail":
                raise ValueError("no more words")
            yield {"content": word}


def load(kind: type, path: Path) -> Any:
    """Save a model of this sort, and load it as MLflow's server does."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(path, python_model=kind(), pip_requirements=[])
        return mlflow.pyfunc.load_model(str(path))
