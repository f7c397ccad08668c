"""Ask the endpoint about two tumours, as the user `clinic`, and say who answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
from sklearn.datasets import load_breast_cancer

state = json.loads(Path(".lac/ray.json").read_text())
rows = load_breast_cancer(as_frame=True).data.iloc[[0, 21]]
answer = httpx.post(
    f"http://127.0.0.1:{state['data_port']}/serving-endpoints/breast-cancer/invocations",
    json={"dataframe_split": rows.to_dict(orient="split")},
    auth=("clinic", "a-password-for-clinic"),
    timeout=30,
)
entity = answer.headers.get("X-Served-Entity")
version = answer.headers.get("X-Served-Entity-Version")
print(f"HTTP {answer.status_code}, served entity {entity}, version {version}: {answer.text}")
sys.exit(answer.is_error)
