"""Templates: `{{ … }}` in string values, and whole files that are rendered first.

Templates have three names: `var` (the stack's variables), `environment` (the environment's name,
`default` if none is selected), and, if the caller allows it, `env` (environment variables). A value that is
exactly one expression keeps its type. See `sandbox` for the supported features and the limits. Pure.
"""

from .budget import TemplateError
from .values import Renderer, TreeRenderer, has_template, report_file_error

__all__ = ["Renderer", "TemplateError", "TreeRenderer", "has_template", "report_file_error"]
