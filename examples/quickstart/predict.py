"""Ask the endpoint about two tumours, as the user `clinic`, and say who answered."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
from sklearn.datasets import load_breast_cancer

status = subprocess.run(
    [sys.executable, "-m", "lifecycle_as_code", "status", "--json"], capture_output=True, check=True
)
serving = json.loads(status.stdout)["endpoints"]
rows = load_breast_cancer(as_frame=True).data.iloc[[0, 21]]
answer = httpx.post(
    f"{serving}/serving-endpoints/breast-cancer/invocations",
    json={"dataframe_split": rows.to_dict(orient="split")},
    auth=("clinic", "a-password-for-clinic"),
    timeout=30,
    # it is this machine: no proxy has anything to do with it
    trust_env=False,
)
entity = answer.headers.get("X-Served-Entity")
version = answer.headers.get("X-Served-Entity-Version")
print(f"HTTP {answer.status_code}, served entity {entity}, version {version}: {answer.text}")
sys.exit(answer.is_error)
