"""Manifests: from text to what is desired, with places.

`load` puts the rest together. The path of a value: `files` (bytes), `yaml` (nodes with places), `templates`
(filled in), `shapes` and `convert` (what each field wants), `bind` (specs), `blocks` (what is said about
objects: `lifecycle`, `moved`, …), `rules` (about changes: policies). `project` reads lac.yaml; `cases` tests
of policies. `write` goes the other way; `edit` changes what people wrote, and `format` lays it out, both by
`outline` (where each value stands).
"""
