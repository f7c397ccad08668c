"""The former place of `stores.proxies`, until its importers have followed."""

import sys

from .. import proxies
from ..proxies import *  # noqa: F403

sys.modules[__name__] = proxies
