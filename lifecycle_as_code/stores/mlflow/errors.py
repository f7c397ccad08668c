"""The former place of `stores.sql.errors`, until its importers have followed."""

import sys

from ..sql import errors
from ..sql.errors import *  # noqa: F403

sys.modules[__name__] = errors
