"""What a rollback restores, and why some can't be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from support.history import CHAMPION, FRAUD, STORY, alias, an_apply, line

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.history import Apply
from lifecycle_as_code.model.spec import Address, Spec, parse_address
from lifecycle_as_code.planning.rollback import find_rollback


def parse(text_: str) -> Address:
    return parse_address(text_, {"model_alias": ModelAlias, "registered_model": RegisteredModel})


TWICE = [
    an_apply(5, line("create", None, alias(1)), line("update", alias(1), alias(2))),
    an_apply(6, line("record", alias(2), alias(2)), line("forget", None, None, of=FRAUD.address)),
    an_apply(7, line("move", FRAUD, FRAUD)),
]
UNDONE: Mapping[str, tuple[str, Sequence[Apply], Mapping[Address, Spec | None]]] = {
    "a creation": ("00000004", STORY, {CHAMPION: None}),
    "a deletion": ("00000003", STORY[:3], {CHAMPION: alias(2)}),
    "an update": ("00000002", STORY[:2], {CHAMPION: alias(1)}),
    "the whole id": ("00000004-of-4", STORY, {CHAMPION: None}),
    "several objects": ("00000001", STORY[:1], {FRAUD.address: None, CHAMPION: None}),
    "an object alone": (str(CHAMPION), STORY, {CHAMPION: None}),
    "an object before": (str(CHAMPION), STORY[:3], {CHAMPION: alias(2)}),
    "an object twice in one apply": ("00000005", TWICE, {CHAMPION: None}),
    "what only records did since": (str(CHAMPION), TWICE, {CHAMPION: alias(1)}),
}


@pytest.mark.parametrize(("what", "applies", "wanted"), UNDONE.values(), ids=UNDONE)
def test_what_is_wanted_again_is_what_was_before(
    what: str, applies: Sequence[Apply], wanted: Mapping[Address, Spec | None]
) -> None:
    back = find_rollback(what, applies, parse)
    assert back.objects == wanted
    assert back.because.startswith("as before apply 0000000")


REFUSED: Mapping[str, tuple[str, Sequence[Apply], str, str]] = {
    "superseded": ("00000001", STORY, "changed-since", "champion: by apply 00000002, 00000003, 00000004"),
    "no such apply": ("12345678", STORY, "no-such-apply", "matches no apply of this stack"),
    "too short": ("00000", STORY, "no-such-apply", "matches no apply of this stack"),
    "of several": ("000000", STORY, "no-such-apply", "matches several applies"),
    "nothing at all": ("", STORY, "no-such-apply", ""),
    "only records": ("00000006", TWICE, "nothing-to-roll-back", "changed no object"),
    "a rename": ("00000007", TWICE, "nothing-to-roll-back", "renamed something"),
    "a renamed object": (str(FRAUD.address), TWICE, "nothing-to-roll-back", "in the opposite direction"),
    "an object that nothing changed": ("model_alias.a/b", STORY, "nothing-to-roll-back", "No apply"),
}


@pytest.mark.parametrize(("what", "applies", "code", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_undone_says_why(what: str, applies: Sequence[Apply], code: str, told: str) -> None:
    with pytest.raises(LacError) as caught:
        find_rollback(what, applies, parse)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert told in str(problem)
