"""The real `openai` client, before each sort of dialect."""

from __future__ import annotations

import asyncio

import openai
import pytest
from aiohttp import web
from support.external_models import external
from support.providers import ANSWER, CHAT, COMPLETIONS, EMBEDDINGS, vector

from lifecycle_as_code.serving.llm import ROUTES, STREAM_HEAD, Outcome
from lifecycle_as_code.serving.providers import ExternalModel


async def _serve(model: ExternalModel, request: web.Request) -> web.StreamResponse:
    """What an endpoint does with a model's parts."""
    parts = model.stream(await request.read(), {})
    head = await anext(parts)
    assert isinstance(head, Outcome)
    if head.answer is not STREAM_HEAD:
        return web.Response(body=head.answer.body, status=head.answer.status, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for part in parts:
        assert isinstance(part, bytes)
        await response.write(part)
    return response


async def _ask(client: openai.AsyncOpenAI, task: str) -> str:
    if task == CHAT:
        chat = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
        assert chat.usage is not None
        assert chat.usage.total_tokens == 10
        chunks = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        assert chat.choices[0].message.content == text
        return text
    if task == COMPLETIONS:
        whole = await client.completions.create(model="m", prompt="Hi")
        texts = await client.completions.create(model="m", prompt="Hi", stream=True)
        text = "".join([chunk.choices[0].text async for chunk in texts])
        assert whole.choices[0].text == text
        return text
    rows = await client.embeddings.create(model="m", input=["one", "three"])
    assert [row.embedding for row in rows.data] == [vector("one"), vector("three")]
    return ANSWER


@pytest.mark.parametrize("kind", ["openai", "anthropic", "bedrock", "vertex"])
def test_the_openai_client_reads_every_answer(kind: str) -> None:
    async def story() -> None:
        for route, task in ROUTES.items():
            if kind == "anthropic" and task == EMBEDDINGS:
                continue
            async with external(kind, task) as (provider, model):
                app = web.Application()
                app.router.add_post(f"/v1/{route}", lambda request, model=model: _serve(model, request))
                runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
                await runner.setup()
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # asyncio's server, which has sockets
                base = f"http://127.0.0.1:{port}/v1"
                async with openai.AsyncOpenAI(api_key="x", base_url=base, max_retries=0) as client:
                    assert await _ask(client, task) == ANSWER
                    provider.fault = "429-long"
                    with pytest.raises(openai.RateLimitError, match="429"):
                        await _ask(client, task)
                    provider.fault = "cut"
                    with pytest.raises(openai.APIError):
                        await _ask(client, task)
                await runner.cleanup()

    asyncio.run(story())
