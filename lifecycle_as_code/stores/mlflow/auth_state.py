"""The former place of `stores.mlflow.auth`, until its importers have followed."""

import sys

from ..mlflow import auth
from ..mlflow.auth import *  # noqa: F403

sys.modules[__name__] = auth
