"""The nouns of the engine: specs, snapshots, plans, evidence, verdicts. Data, without any store."""
