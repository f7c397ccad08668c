"""How MLflow's schema enforcement treats a caller of one signature under another. Pure.

The rules come from `mlflow.models.utils` (MLflow 3.17) and are compared with it over generated schemas
(tests/integration/test_signature_like_mlflow.py). A caller sends what the schema before declares, in any form
that MLflow accepts: a DataFrame with NumPy or Arrow types, a dict, a list of records, an array. A change is
breaking if some such call is refused or read differently than before: MLflow doesn't check columns of
objects, and accepts bytes for text. A call that passes only for certain values (0 and 1 as doubles for longs)
doesn't make a change compatible.

Not covered: shorthands of the scoring server (a bare list for the only column), and models whose input is
checked by Python's type hints instead of the schema (MLmodel: `is_signature_from_type_hint`).
"""
