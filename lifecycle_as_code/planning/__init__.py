"""From snapshots to a plan: decided, guarded, in order. Pure: no clock, no store, no printing."""
