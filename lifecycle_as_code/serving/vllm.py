"""A language model on GPUs, as an endpoint's ingress asks it: Ray's `LLMServer` with vLLM behind an `entity`.

**Never run on a GPU**, nor with vLLM, which needs one. Written after Ray 2.60's `OpenAiIngress`, and in its
place: that one answers HTTP itself, and a request to it hasn't passed the endpoint's access check.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from lifecycle_as_code.serving import llm
from lifecycle_as_code.serving.answer import JSON, Answer
from lifecycle_as_code.serving.app import check_format

_METHODS = {
    "llm/v1/chat": ("chat", "ChatCompletionRequest"),
    "llm/v1/completions": ("completions", "CompletionRequest"),
    "llm/v1/embeddings": ("embeddings", "EmbeddingRequest"),
}
"""The methods of Ray's `LLMServer`, and the classes of their requests."""


def entity(args: dict[str, Any]) -> serve.Application:
    """The app of one served entity. `args`: `task`, in `llm` an `LLMConfig`, and marks."""
    check_format(args)
    from ray.serve.llm import LLMConfig, build_llm_deployment

    config = LLMConfig.model_validate(args["llm"])
    server = build_llm_deployment(config, override_serve_options={"name": llm.ENGINE})
    return serve.deployment(VllmEntity, name="entity").bind(server, args["task"], config.model_id)


class VllmEntity:
    """What `app.Entity` is for a model in its own process. It has no `__call__`, for the same reason."""

    def __init__(self, server: DeploymentHandle[Any], task: str, model: str) -> None:
        self._server = server
        self._method, self._shape = _METHODS[task]
        self._model = model

    async def score(self, body: bytes, content_type: str | None) -> tuple[int, str, bytes]:
        """Answer one request: (status, media type, body)."""
        async for part in self._ask(body):
            if isinstance(part, Answer):
                return part
        return llm.error(500, "INTERNAL_ERROR", "The model gave no answer.")

    async def stream(
        self, body: bytes, content_type: str | None
    ) -> AsyncIterator[tuple[int, str, bytes] | bytes]:
        """Answer one request in parts: its head, with the whole body unless that is an event stream; then
        events."""
        has_begun = is_done = False
        async for part in self._ask(body):
            if isinstance(part, Answer):
                # its head is gone: an error can only be an event
                yield llm.event(llm.read(part.body)) if has_begun else part
                return
            if not has_begun:
                yield llm.STREAM_HEAD
                has_begun = True
            is_done = part.endswith(llm.DONE)
            yield part
        if not is_done:
            yield llm.DONE

    async def ping(self) -> bool:
        """True: vLLM runs."""
        await self._server.check_health.remote()
        return True

    async def _ask(self, body: bytes) -> AsyncIterator[Answer | bytes]:
        """The answer, or the events in the batches in which Ray sends them."""
        payload = llm.read_request(body)
        if isinstance(payload, Answer):
            yield payload
            return
        try:
            # vLLM knows the model by this name alone, and clients may say any
            request = _read_shape(self._shape, {**payload, "model": self._model})
        except ValueError as e:
            yield llm.error(400, "INVALID_PARAMETER_VALUE", str(e))
            return
        method = getattr(self._server.options(stream=True), self._method)
        async for part in method.remote(request, None):
            if isinstance(part, str | list):
                yield "".join(part).encode()
            elif (error := getattr(part, "error", None)) is not None:
                yield llm.error(int(error.code), "INVALID_PARAMETER_VALUE", str(error.message))
            else:
                yield Answer(200, JSON, part.model_dump_json().encode())


def _read_shape(name: str, payload: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter
    from ray.serve.llm import openai_api_models

    # a class, or a union of them
    return TypeAdapter(getattr(openai_api_models, name)).validate_python(payload)
