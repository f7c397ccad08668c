"""From snapshots to a plan. Pure: no clock, no store, no printing.

`renames` puts `moved:` blocks into the recorded and the live snapshot. `selection` replaces version selectors
in the desired one; `pinning` replaces aliases by versions. `targeting` cuts it down to `--target` and
`--exclude`. Then `planner` makes the Plan: `decision` has the table for one object, `guards` refuse changes
that need a flag, `ordering` sorts the changes into steps.
"""
