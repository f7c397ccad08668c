"""Ask the endpoint, as any client of OpenAI's would: the whole answer, then the same as a stream.

python ask.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx

if (base := os.environ.get("ENDPOINTS")) is None:
    status = [sys.executable, "-m", "lifecycle_as_code", "status", "--json"]
    base = json.loads(subprocess.run(status, capture_output=True, check=True).stdout)["endpoints"]
address = f"{base}/serving-endpoints/chat/v1/chat/completions"
request = {
    "model": "tiny-chat",
    "messages": [{"role": "user", "content": "good morning"}],
    "max_tokens": 12,
    "temperature": 0,
}
# it is this machine: no proxy has anything to do with it
client = httpx.Client(timeout=60, trust_env=False)
answer = client.post(address, json=request)
print(f"HTTP {answer.status_code}: {answer.text}")
with client.stream("POST", address, json={**request, "stream": True}) as stream:
    for line in filter(None, stream.iter_lines()):
        print(line)
sys.exit(answer.is_error)
