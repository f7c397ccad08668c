"""Policies over the changes of a plan. Pure."""
