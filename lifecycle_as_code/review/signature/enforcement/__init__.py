"""How MLflow's schema enforcement treats a caller of one schema under another. Pure.

The rules are read from `mlflow.models.utils` (MLflow 3.17) and held against it over generated schemas
(tests/integration/test_signature_like_mlflow.py). A caller sends what the schema before declares, in any form
that MLflow takes: a DataFrame of NumPy's or Arrow's types, a dict, a list of records, an array. It is broken
where some such call is refused, or taken for something else than it was: MLflow doesn't look into columns of
objects, and lets bytes through where text is declared. What it takes by luck of the values (0 and 1 as
doubles, where longs are sent) makes no change compatible.

Not here: shorthands of the scoring server (a bare list for the only column), and models whose input is
checked by Python's type hints instead of the schema (MLmodel: `is_signature_from_type_hint`).
"""

from .findings import Finding
from .inputs import input_findings
from .outputs import output_findings
from .parameters import parameter_findings

__all__ = ["Finding", "input_findings", "output_findings", "parameter_findings"]
