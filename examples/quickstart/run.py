"""The main job from nothing: train, register, grant, serve, predict, promote, find drift, judge a promotion.

    python examples/quickstart/run.py [DIRECTORY]

Works in a copy of this example, by default `build/quickstart`. `lac down` in there ends its Ray.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
MANIFESTS = ("lac.yaml", "experiments.yaml", "models.yaml", "access.yaml", "endpoints.yaml", "policies.yaml")
SCRIPTS = ("train.py", "users.py", "predict.py")
STRAY = """
import mlflow
client = mlflow.MlflowClient("sqlite:///mlflow.db")
client.set_registered_model_alias("breast-cancer", "champion", 1)
client.set_registered_model_tag("breast-cancer", "reviewed-by", "ana")
"""


def run(shown: str, *command: str, expect: int = 0) -> None:
    """Show a command, run it, and end everything where its exit code isn't the expected one."""
    print(f"\n$ {shown}", flush=True)
    code = subprocess.run(command, cwd=directory, check=False).returncode
    if code != expect:
        sys.exit(f"`{shown}` ended with {code} instead of {expect}")


def lac(arguments: str, expect: int = 0) -> None:
    """Run `lac` in the copy."""
    run(f"lac {arguments}", sys.executable, "-m", "lifecycle_as_code", *shlex.split(arguments), expect=expect)


WAIVER = """\
waivers:
  - policy: callers-keep-working
    address: model_alias.breast-cancer/champion
    reason: All clinics send twenty-nine columns by now.
    expires: {day}
"""


def say(text: str) -> None:
    """A heading."""
    print(f"\n== {text}", flush=True)


directory = Path(sys.argv[1] if len(sys.argv) > 1 else "build/quickstart").resolve()
if directory.exists() and any(directory.iterdir()):
    sys.exit(f"{directory} is not empty: run `lac -C {directory} down`, remove it, or name another one")
directory.mkdir(parents=True, exist_ok=True)
for name in (*MANIFESTS, *SCRIPTS):
    shutil.copy(HERE / name, directory / name)

say("Two models, trained on real data and logged to MLflow; two users of MLflow's basic-auth")
run("python train.py", sys.executable, "train.py")
run("python users.py", sys.executable, "users.py")

say("The experiment is there already: training made it. Take it over, then apply the rest")
lac("import experiment.breast-cancer")
lac("apply --auto-approve")
run("python predict.py", sys.executable, "predict.py")

say("Nothing is left to do")
lac("plan --detailed-exitcode")

say("A promotion is one line of YAML")
models = directory / "models.yaml"
text = models.read_text()
models.write_text(text.replace("champion: 1", "champion: 2"))
print("- champion: 1\n+ champion: 2")
lac("plan --detailed-exitcode -o promotion.plan", expect=2)
say("What was reviewed is what is applied")
lac("apply promotion.plan")

say("Somebody moves the alias by hand, and adds a tag that nobody declared")
run("python -c 'client.set_registered_model_alias(…, \"champion\", 1)'", sys.executable, "-c", STRAY)
lac("drift", expect=2)
lac("apply --auto-approve")

say("Who moved the champion, when, from what; and the plan that would take it back")
lac("history model_alias.breast-cancer/champion")
lac("rollback model_alias.breast-cancer/champion")

say("A third version never saw one of the columns. What would its promotion mean?")
run('python train.py --without "worst texture"', sys.executable, "train.py", "--without", "worst texture")
lac("apply --auto-approve")
lac("promote breast-cancer --version 3")
lac("explain model_alias.breast-cancer/champion")
say("The team's policy denies it, until somebody answers for it")
lac("apply --auto-approve", expect=1)
with (directory / "policies.yaml").open("a") as file:
    file.write(WAIVER.format(day=(datetime.now(UTC) + timedelta(days=7)).date()))
lac("plan -o waived.plan")
(directory / "models.yaml").write_text(models.read_text().replace("champion: 3", "champion: 2"))

say("The endpoint answers with the promoted version")
run("python predict.py", sys.executable, "predict.py")
