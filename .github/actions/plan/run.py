"""Plan on a pull request: the plan in the job's log and on its page, annotations at the manifests' lines, one
comment that is kept up to date, and the sealed plan as a file for the artifact.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import Lac, Ran, fenced, log, run_link, step, warn
from subject import Subject


def plan(job: Job) -> int:
    """The step. Exits with 1 where nothing could be planned or a policy denies it."""
    # of its own: a job may plan several stacks
    folder = Path(tempfile.mkdtemp(prefix="lac-plan-", dir=job.environ.get("RUNNER_TEMP")))
    file = folder / "lac.plan"
    lac, subject, sha = Lac(job), Subject.of(job), head(job)
    ran = lac.run("plan", "-o", str(file), "--no-input", "--github")
    print(ran.out, flush=True)
    log(ran.err)
    judged = verdict(ran, file)
    if judged is None:
        told = f"**Nothing could be planned.**\n\n{fenced(ran.err.strip(), 20_000)}"
        job.output(changes="unknown", denied="unknown", plan="", folder="", artifact="")
    else:
        denied, differs = judged
        log(shown(lac, file))
        told = shown(lac, file, "--markdown")
        (folder / "plan.md").write_text(told, encoding="utf-8")
        (folder / "plan.html").write_text(shown(lac, file, "--html"), encoding="utf-8")
        job.output(
            changes=str(differs).lower(),
            denied=str(denied).lower(),
            plan=str(file),
            folder=str(folder),
            artifact=subject.artifact(sha),
        )
    body = f"### {subject.title('Plan')}\n\n{told}\n\n<sub>Commit {sha[:12]}, {run_link(job)}</sub>"
    job.summarize(body)
    news = judged is None or any(judged)
    job.output(comment=comment(job, subject, body, news=news))
    return 1 if judged is None or denied else 0


def verdict(ran: Ran, file: Path) -> tuple[bool, bool] | None:
    """Whether a policy denies the plan, and whether it would change anything. None where there is no plan, or
    `lac` failed although it wrote one."""
    if not file.is_file():
        return None
    held = json.loads(file.read_bytes())["plan"]
    denied = any(found["outcome"] == "denied" for found in held["review"]["verdicts"])
    if ran.code != 0 and not denied:
        return None
    return denied, bool(held["summary"]["difference"])


def shown(lac: Lac, file: Path, *view: str) -> str:
    """The plan in one of its views. ActionError where it can't be shown."""
    ran = lac.run("show", *view, str(file))
    if ran.code != 0:
        log(ran.err)
        raise ActionError("The plan can't be shown; what `lac show` says is in the log.")
    return ran.out


def head(job: Job) -> str:
    """The commit that is reviewed: a pull request's own, not the merge that GitHub tries."""
    request = job.pull_request
    return str(request["head"]["sha"]) if request else job.environ.get("GITHUB_SHA", "")


def comment(job: Job, subject: Subject, body: str, *, news: bool) -> str:
    """Keep the pull request's comment up to date. Where the token may not (a fork's), a warning."""
    request = job.pull_request
    if request is None or not job.is_on("comment"):
        return ""
    try:
        return Api.of(job).comment(int(request["number"]), subject.marker("lac plan"), body, news=news)
    except ActionError as error:
        warn(f"The pull request's comment couldn't be written. {error}")
        return ""


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(plan)
