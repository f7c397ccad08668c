"""Handles on the stores, without decisions: MLflow's database, Ray Serve."""
