"""An endpoint before a provider beside the provider itself: the latency that it adds, token by token.

The provider is a bare asyncio server on loopback that answers at once, and writes into every token when it
sent it. One client asks both in turn; then 200 clients read streams at the same time.

python tests/benchmarks/bench_external.py [REQUESTS]
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from bench_serving import ENVIRONMENT
from measure import ROOT

STREAMS = 200
TOKENS = 40
PAUSE = 0.1
"""Seconds between two tokens of a stream."""

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Say hello."}]}

STACK = """\
serving_endpoints:
  - name: chat
    auth: none
    served_entities:
      - name: only
        external_model:
          name: m
          task: llm/v1/chat
          provider: custom
          custom_provider_config: {custom_provider_url: "URL/v1"}
"""


async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection to the provider."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            request = json.loads(await reader.readexactly(length))
            if request.get("stream"):
                await _stream(writer)
            else:
                body = json.dumps(ANSWER).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    % len(body)
                    + body
                )
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    def send(event: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))

    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for _ in range(TOKENS):
        await asyncio.sleep(PAUSE)
        delta = {"index": 0, "delta": {"content": str(time.monotonic_ns())}, "finish_reason": None}
        send(b"data: " + json.dumps({**chunk, "choices": [delta]}).encode() + b"\n\n")
    usage = {**chunk, "choices": [], "usage": ANSWER["usage"]}
    send(b"data: " + json.dumps(usage).encode() + b"\n\n")
    send(b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")


async def ask(http: aiohttp.ClientSession, url: str) -> float:
    """Milliseconds of one answer."""
    start = time.perf_counter()
    async with http.post(url, json=REQUEST) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
    return (time.perf_counter() - start) * 1000


async def read_stream(http: aiohttp.ClientSession, url: str) -> list[float]:
    """Milliseconds from each token's departure to its arrival."""
    ages = []
    async with http.post(url, json={**REQUEST, "stream": True}) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            now = time.monotonic_ns()
            choices = json.loads(line[6:])["choices"] if line.startswith(b"data: {") else []
            # the endpoint may add a first event with the role alone
            ages += [(now - int(sent)) / 1e6 for c in choices if (sent := c["delta"].get("content"))]
    return ages


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def measure(direct: str, endpoint: str, requests: int) -> bool:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for url in (direct, endpoint):
            for _ in range(50):
                await ask(http, url)
        times: dict[str, list[float]] = {direct: [], endpoint: []}
        for _ in range(requests):
            for url, found in times.items():
                found.append(await ask(http, url))
        added = statistics.median(times[endpoint]) - statistics.median(times[direct])
        print(
            f"answer: direct p50 {statistics.median(times[direct]):.2f} ms, through the endpoint "
            f"{statistics.median(times[endpoint]):.2f} ms: {added:.2f} ms added (goal 3)"
        )
        ages = {url: await read_stream(http, url) for url in (direct, endpoint)}
        p50 = {url: statistics.median(found) for url, found in ages.items()}
        later = p50[endpoint] - p50[direct]
        print(
            f"token: direct {p50[direct]:.2f} ms, through {p50[endpoint]:.2f} ms: {later:.2f} later (goal 2)"
        )
        complete = True
        for name, url in (("direct", direct), ("through the endpoint", endpoint)):
            streams = await asyncio.gather(
                *(read_stream(http, url) for _ in range(STREAMS)), return_exceptions=True
            )
            good = [s for s in streams if isinstance(s, list) and len(s) == TOKENS]
            every = [age for stream in good for age in stream]
            complete = complete and len(good) == STREAMS
            print(
                f"{STREAMS} streams, {STREAMS / PAUSE:.0f} tokens/s, {name}: {len(good)} complete; "
                f"a token's age p50 {percentile(every, 0.5):.2f}, p99 {percentile(every, 0.99):.2f} ms"
            )
    return added <= 3 and later <= 2 and complete


def main(requests: int = 400) -> None:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(provide, "127.0.0.1", 0, backlog=1024), loop
    ).result()
    provider = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as path:
        directory = Path(path)
        (directory / "lac.yaml").write_text("name: external\nserve: local\n")
        (directory / "stack.yaml").write_text(STACK.replace("URL", provider))

        def lac(*words: str) -> None:
            command = (sys.executable, "-m", "lifecycle_as_code", "-C", path, *words)
            environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

        try:
            lac("apply", "--auto-approve")
            ray = json.loads((directory / ".lac" / "ray.json").read_text())
            endpoint = f"http://127.0.0.1:{ray['data_port']}/serving-endpoints/chat/invocations"
            good = asyncio.run(measure(f"{provider}/v1/chat/completions", endpoint, requests))
        finally:
            lac("down")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
