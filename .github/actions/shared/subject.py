"""What a job is about: one stack's directory, in one environment. Everything that is kept on GitHub is named
by both, so that stacks and environments of one repository don't write over each other. Pure.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from github import Job


@dataclass(frozen=True, slots=True)
class Subject:
    """`directory`: from the repository's root, `.` for the root itself. `environment`: empty for none."""

    directory: str
    environment: str

    @classmethod
    def of(cls, job: Job) -> Subject:
        root = job.environ.get("GITHUB_WORKSPACE") or os.curdir
        where = os.path.join(root, job.input("working-directory", os.curdir))
        # `lac` takes the environment from there as well
        named = job.input("environment") or job.environ.get("LAC_ENV", "")
        return cls(os.path.relpath(where, root), named)

    def marker(self, name: str) -> str:
        """The beginning of our comment or issue, unseen by readers. An HTML comment ends at two hyphens."""
        return f"<!-- {name} {self._key(safe='/ ').replace('--', '-%2D')} -->"

    def artifact(self, commit: str) -> str:
        """The plan's artifact. GitHub takes no slash in its name."""
        return f"lac-plan-{self._key()}-{commit}"

    def title(self, name: str) -> str:
        """A heading for people; what would break out of one line of Markdown is left out of it."""
        said = [name]
        if _plain(self.environment):
            said.append(f"for `{self.environment}`")
        if self.directory != os.curdir and _plain(self.directory):
            said.append(f"in `{self.directory}`")
        return " ".join(said)

    def _key(self, safe: str = "") -> str:
        """Both names in one: another one for every other pair."""
        where = quote(self.directory, safe=safe)
        return f"{quote(self.environment, safe=safe)}@{where}" if self.environment else where


def _plain(name: str) -> bool:
    return re.fullmatch(r"[\w./ -]{1,100}", name) is not None
