"""`python -m lifecycle_as_code` is `lac`."""

from .cli import main

main()
