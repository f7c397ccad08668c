"""The former place of `stores.mlflow.artifacts`, until its importers have followed."""

import sys

from ..mlflow import artifacts
from ..mlflow.artifacts import *  # noqa: F403

sys.modules[__name__] = artifacts
