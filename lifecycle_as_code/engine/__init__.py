"""The pipeline over real stores: refresh, plan, review, apply."""
