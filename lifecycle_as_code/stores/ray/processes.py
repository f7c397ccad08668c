"""The former place of `stores.processes`, until its importers have followed."""

import sys

from .. import processes
from ..processes import *  # noqa: F403

sys.modules[__name__] = processes
