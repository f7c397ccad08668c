"""Carry a plan out: lock, transactions, rollouts, records."""
