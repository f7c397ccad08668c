"""Sections of a manifest that are about objects or changes rather than objects themselves."""
