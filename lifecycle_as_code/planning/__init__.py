"""From snapshots to a plan. Pure: no clock, no store, no printing.

`renames` puts `moved:` blocks into the recorded and the live snapshot. `selection` replaces version selectors
in the desired one, choosing among `candidates`; `pinning` replaces aliases by versions. `targeting` cuts it
down to what `--target` and `--exclude` name. Then `planner` makes the Plan: `decision` has the table for one
object, `guards` refuse changes that need a flag, `ordering` sorts the changes into steps.

`planfile` saves a plan (`encoding`: as plain data), and `revalidation` plans a saved one again before an
apply. `drift` compares records with live state, `comparison` two states, `rollback` finds the states to go
back to, and `explanation` says why one object changes.
"""
