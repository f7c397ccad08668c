"""Manifests: from text to the desired state, with places.

`load` combines the rest. The path of a value: `files` (bytes), `yaml` (nodes with places), `templates`
(rendered values), `shapes` and `convert` (values by field), `bind` (specs), `blocks` (`lifecycle`, `moved`,
policies, …). `project` reads lac.yaml, `policy_tests` reads policy tests. `write` is the opposite of `load`;
`edit` and `format` change texts, with places from `yaml.outline`.
"""
