"""Templates: `{{ … }}` in string values, and whole files that are rendered first.

Three names are given: `var` (the stack's variables), `environment` (the chosen environment's name,
`default` where none was chosen), and, where a caller admits it, `env` (environment variables). A value that
is exactly one expression keeps its type. What templates can do and what they may cost: see `sandbox`. Pure.
"""

from .budget import TemplateError
from .values import MARKERS, Renderer, TreeRenderer, has_template, report_file_error

__all__ = ["MARKERS", "Renderer", "TemplateError", "TreeRenderer", "has_template", "report_file_error"]
