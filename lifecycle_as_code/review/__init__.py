"""The judgement of a plan: its evidence, what it reaches, policies. Pure."""
