"""The nouns of the engine: specs, snapshots, plans, evidence, verdicts. Data, and what follows from it alone."""
