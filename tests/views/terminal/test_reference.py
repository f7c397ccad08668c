"""The reference of kinds."""

from __future__ import annotations

from support.view_samples import (
    Alias,
    Endpoint,
    Model,
)

from lifecycle_as_code.views.terminal import reference


def test_kinds_are_listed_with_their_sections() -> None:
    assert reference.kinds([Model, Endpoint]) == (
        "model     models:     A model.\n"  #
        "endpoint  endpoints:  Serves models."
    )


def test_a_kind_tells_every_field_with_its_rules() -> None:
    assert reference.kind(Alias) == (
        """\
alias
  A name for a version.

  section  aliases:
  address  alias.<name>

  name  string, key, refers to model
      The model.
  version  integer, required, can't be changed in place (declare another)
      The version."""
    )
    nested = reference.kind(Endpoint)
    assert "entities  list of object" in nested
    assert "      replicas  integer, default 1\n          How many." in nested
