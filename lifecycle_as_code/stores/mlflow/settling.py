"""The former place of `stores.sql.commit`, until its importers have followed."""

import sys

from ..sql import commit
from ..sql.commit import *  # noqa: F403

sys.modules[__name__] = commit
