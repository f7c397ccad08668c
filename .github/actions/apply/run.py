"""Apply on merge: exactly the plan that was reviewed in the pull request, or nothing.

The plan is the artifact of the pull request's last commit. `lac` refuses it where its seal is broken, where
the manifests that were merged aren't those that it was made from, and where what is live has moved since.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import Lac, Ran, fenced, step, tag, title, warn

OUTCOMES: Mapping[str, str] = {
    "stale-plan": "stale",
    "plan-mismatch": "stale",
    "manifests-changed": "stale",
    "policy-denied": "denied",
    "plan-altered": "refused",
    "plan-unsigned": "refused",
    "plan-key-missing": "refused",
    "another-stacks-plan": "refused",
    "other-plan-version": "refused",
}
"""What the codes of errors mean for a reader; anything else is `failed`."""

WORDS: Mapping[str, str] = {
    "applied": "Applied exactly as it was reviewed.",
    "stale": "**Nothing was applied: the plan is stale.** Plan again in a pull request, and review it anew.",
    "denied": "**Nothing was applied: a policy denies it.**",
    "refused": "**Nothing was applied: the plan isn't one to be trusted.**",
    "failed": "**The apply failed.** What was done is recorded; the next apply does the rest.",
}


def apply(job: Job) -> int:
    """The step. Exits with 1 unless everything in the plan was done."""
    api = Api.of(job)
    sha = job.environ["GITHUB_SHA"]
    merged = request_of(api, sha)
    file = Path(job.environ.get("RUNNER_TEMP", ".")) / "lac-apply" / "lac.plan"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(reviewed(api, job, merged))
    timeout = job.input("lock-timeout", "5m")
    ran = Lac(job).run("apply", str(file), "--no-input", "--same-manifests", f"--lock-timeout={timeout}")
    outcome = outcome_of(ran)
    job.output(outcome=outcome, pull_request=str(merged["number"]))
    body = f"### {title('Apply', job)}\n\n{WORDS[outcome]}\n\n{fenced((ran.out + ran.err).strip(), 40_000)}"
    job.summarize(body)
    if job.is_on("comment"):
        try:
            api.comment(int(merged["number"]), tag("lac apply", job), body)
        except ActionError as error:
            warn(f"The pull request's comment couldn't be written. {error}")
    return 0 if outcome == "applied" else 1


def outcome_of(ran: Ran) -> str:
    """One word for how it ended."""
    if ran.code == 0:
        return "applied"
    return next((OUTCOMES[code] for code in ran.errors if code in OUTCOMES), "failed")


def request_of(api: Api, sha: str) -> Mapping[str, Any]:
    """The pull request that this commit merged. ActionError where none did: nobody reviewed it."""
    for found in api.pages(f"commits/{sha}/pulls?per_page=100"):
        if found.get("merged_at") and found.get("merge_commit_sha") == sha:
            return dict(found)
    raise ActionError(
        f"Commit {sha[:12]} came by no pull request, so there is no plan that was reviewed. Run `lac apply`"
        " by hand, or bring the change as a pull request."
    )


def reviewed(api: Api, job: Job, merged: Mapping[str, Any]) -> bytes:
    """The plan of the pull request's last commit, made by a run of this repository's own."""
    sha = str(merged["head"]["sha"])
    name = "-".join(filter(None, ["lac-plan", job.input("environment"), sha]))
    found = [
        artifact
        for artifact in api.pages(f"actions/artifacts?name={name}&per_page=100")
        if artifact.get("name") == name and not artifact.get("expired") and _own(artifact, sha)
    ]
    if not found:
        raise ActionError(
            f"There is no plan for commit {sha[:12]} (artifact `{name}`): it expired, or was never made."
            " Plan again in a pull request."
        )
    latest = max(found, key=lambda artifact: str(artifact["created_at"]))
    return api.artifact(int(latest["id"]), "lac.plan")


def _own(artifact: Mapping[str, Any], sha: str) -> bool:
    """Whether it comes from a run for that commit, and not from a fork's."""
    run = artifact.get("workflow_run") or {}
    return run.get("head_sha") == sha and run.get("head_repository_id") == run.get("repository_id")


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(apply)
