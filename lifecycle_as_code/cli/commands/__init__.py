"""One module a verb; each holds it as `command`."""
