"""Plan on a pull request: the plan in the job's log and on its page, annotations at the manifests' lines, one
comment that is kept up to date, and the sealed plan as a file for the artifact.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import MAX_COMMENT, Lac, Ran, fenced, step, tag, title, warn


def plan(job: Job) -> int:
    """The step. Exits with 1 where nothing could be planned or a policy denies it."""
    folder = Path(job.environ.get("RUNNER_TEMP", ".")) / "lac-plan"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "lac.plan"
    file.unlink(missing_ok=True)
    lac = Lac(job)
    ran = lac.run("plan", "-o", str(file), "--no-input", "--detailed-exitcode")
    sha = head(job)
    named = "-".join(filter(None, ["lac-plan", job.input("environment"), sha]))
    if not file.is_file():
        job.output(changes="unknown", denied="unknown", plan="", artifact="", comment="")
        text = f"### {title('Plan', job)}\n\n**Nothing could be planned.**\n\n{fenced(ran.err, 20_000)}"
        job.summarize(text)
        comment(job, text)
        return ran.code or 1
    shown = {view: lac.run("show", f"--{view}", str(file), told=view == "github").out for view in VIEWS}
    (folder / "plan.html").write_text(shown["html"], encoding="utf-8")
    (folder / "plan.md").write_text(shown["markdown"], encoding="utf-8")
    body = f"### {title('Plan', job)}\n\n{shown['markdown']}\n\n<sub>{origin(job, sha)}</sub>"
    job.summarize(body)
    denied, differs = verdict(ran, file)
    job.output(
        changes=str(differs).lower(),
        denied=str(denied).lower(),
        plan=str(file),
        artifact=named,
        comment=comment(job, body),
    )
    return 1 if denied else 0


VIEWS = ("github", "markdown", "html")


def verdict(ran: Ran, file: Path) -> tuple[bool, bool]:
    """Whether a policy denies the plan, and whether it would change anything. ActionError where `lac` failed
    although it wrote a plan."""
    held = json.loads(file.read_bytes())["plan"]
    denied = any(found["outcome"] == "denied" for found in held["review"]["verdicts"])
    if ran.code not in (0, 2) and not denied:
        raise ActionError("`lac plan` failed; its message is in the log.")
    return denied, bool(held["summary"]["difference"])


def head(job: Job) -> str:
    """The commit that is reviewed: a pull request's own, not the merge that GitHub tries."""
    request = job.pull_request
    return str(request["head"]["sha"]) if request else job.environ.get("GITHUB_SHA", "")


def origin(job: Job, sha: str) -> str:
    """Of which commit, by which run."""
    run = "/".join(job.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    return f"Commit {sha[:12]}, [run]({run}/actions/runs/{job.environ.get('GITHUB_RUN_ID', '')})"


def comment(job: Job, body: str) -> str:
    """Keep the pull request's comment up to date. Where the token may not (a fork's), a warning."""
    request = job.pull_request
    if request is None or not job.is_on("comment"):
        return ""
    if len(body) > MAX_COMMENT + 400:
        body = body[:MAX_COMMENT]
    try:
        return Api.of(job).comment(int(request["number"]), tag("lac plan", job), body)
    except ActionError as error:
        warn(f"The pull request's comment couldn't be written. {error}")
        return ""


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(plan)
