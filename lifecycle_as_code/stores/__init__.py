"""Handles on the stores, without decisions: SQL databases, MLflow's rows, Ray Serve and lac's own tables."""
