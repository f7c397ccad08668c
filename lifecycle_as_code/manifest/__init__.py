"""Manifests: from text to what is desired, with places.

`load` puts the rest together. The path of a value: `files` (bytes), `yaml` (nodes with places), `templates`
(filled in), `shapes` and `convert` (what each field wants), `bind` (specs). `project` reads lac.yaml.
`write` goes the other way.
"""
