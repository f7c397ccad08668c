"""A provider on loopback that speaks OpenAI's protocol, so that the guide runs without one.

    python provider.py PORT [FAILS]

It repeats what it is asked. With FAILS it answers 500 to everything.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAILS = "FAILS" in sys.argv


class Handler(BaseHTTPRequestHandler):
    """One request for a chat."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if FAILS:
            self.reply(500, {"error": {"message": "out of order"}})
        elif not self.headers.get("Authorization", "").startswith("Bearer "):
            self.reply(401, {"error": {"message": "no key"}})
        else:
            self.answer(request)

    def answer(self, request: dict[str, Any]) -> None:
        words = f"You said: {request['messages'][-1]['content']}".split(" ")
        usage = {"prompt_tokens": len(words) - 2, "completion_tokens": len(words)}
        usage["total_tokens"] = sum(usage.values())
        head = {"id": "chat-1", "created": 1, "model": request["model"]}
        if not request.get("stream"):
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.reply(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number, word in enumerate(words):
            text = word if number == 0 else f" {word}"
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            self.send_event({**head, "object": "chat.completion.chunk", "choices": [choice]})
        self.send_event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def send_event(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
