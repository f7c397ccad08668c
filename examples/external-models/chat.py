"""Ask the endpoint by OpenAI's client, as a user with a token.

python chat.py TOKEN TEXT [TIMES]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import openai

if (base := os.environ.get("ENDPOINTS")) is None:
    status = [sys.executable, "-m", "lifecycle_as_code", "status", "--json"]
    base = json.loads(subprocess.run(status, capture_output=True, check=True).stdout)["endpoints"]
token, text, *times = sys.argv[1:]
client = openai.OpenAI(base_url=f"{base}/serving-endpoints/assistant/v1", api_key=token, max_retries=0)
for _ in range(int(times[0]) if times else 1):
    try:
        reply = client.chat.completions.with_raw_response.create(
            model="assistant", messages=[{"role": "user", "content": text}]
        )
        answer = reply.parse()
        print(f"{reply.headers['x-served-entity']}: {answer.choices[0].message.content}")
    except openai.APIStatusError as error:
        wait = error.response.headers.get("retry-after")
        message = error.response.json()["message"]
        print(f"HTTP {error.status_code}: {message}" + (f" (wait {wait} s)" if wait else ""))
