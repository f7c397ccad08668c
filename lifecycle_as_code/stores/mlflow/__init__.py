"""MLflow's databases and files: tables, rows, and the rules that its REST handlers keep."""
