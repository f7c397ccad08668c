"""The guide from nothing, before providers on loopback: apply, token, answers, limits, fallback, usage.

    python examples/external-models/run.py [DIRECTORY]

Works in a copy of this example, by default `build/external-models`. `lac down` in there ends its Ray.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ("lac.yaml", "endpoints.yaml", "provider.py", "chat.py", "users.py")


def run(shown: str, *command: str) -> str:
    """Show a command, run it, show what it printed and return that; end everything where it fails."""
    print(f"\n$ {shown}", flush=True)
    done = subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(f"`{shown}` ended with {done.returncode}")
    return done.stdout


def lac(arguments: str) -> str:
    """Run `lac` in the copy."""
    return run(f"lac {arguments}", sys.executable, "-m", "lifecycle_as_code", *shlex.split(arguments))


def chat(text: str, times: int = 1) -> str:
    """Ask as ana."""
    more = [str(times)] if times > 1 else []
    shown = shlex.join(["python", "chat.py", "$TOKEN", text, *more]).replace("'$TOKEN'", '"$TOKEN"')
    return run(shown, sys.executable, "chat.py", token, text, *more)


def start_provider(*words: str) -> str:
    """The address of a provider that runs until the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE / "provider.py"), str(port), *words])
    until_done.callback(process.wait)
    until_done.callback(process.terminate)
    for _ in range(100):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}/v1"
        time.sleep(0.1)
    sys.exit("the provider doesn't start")


if importlib.util.find_spec("openai") is None:
    sys.exit("chat.py needs OpenAI's client: run `pip install openai`")
directory = Path(sys.argv[1] if len(sys.argv) > 1 else "build/external-models").resolve()
if directory.exists() and any(directory.iterdir()):
    sys.exit(f"{directory} is not empty: run `lac -C {directory} down`, remove it, or name another one")
directory.mkdir(parents=True, exist_ok=True)
for name in FILES:
    shutil.copy(HERE / name, directory / name)
with ExitStack() as until_done:
    key = directory / "openai-key"
    key.write_text("not-a-real-key")
    project = directory / "lac.yaml"
    project.write_text(project.read_text().replace("/run/secrets/openai", str(key)))
    environment = {**os.environ, "GPU_CLUSTER_KEY": "not-a-real-key", "LAC_VAR_openai": start_provider()}
    environment["LAC_VAR_gpus"] = start_provider()
    run("python users.py", sys.executable, "users.py")
    lac("apply --auto-approve")
    lac("plan --detailed-exitcode")
    token = lac("token create --user ana --endpoint assistant --expires 30d").strip()
    chat("Good morning.")
    chat("My address is ana@example.com.")
    chat("What is PROJECT-X?")
    # the first provider fails: the endpoint's next one answers
    environment["LAC_VAR_openai"] = start_provider("FAILS")
    lac("apply --auto-approve")
    chat("Are you there?", 3)
    time.sleep(2)
    lac("usage assistant")
    lac("token list")
