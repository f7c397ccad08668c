"""Long words and long lists, for people."""

from __future__ import annotations

from lifecycle_as_code.model.text import join_first, shorten, take_first


def test_a_text_is_cut_only_where_it_is_too_long() -> None:
    assert [shorten(text, 5) for text in ("", "abcde", "abcdef")] == ["", "abcde", "abcd…"]


def test_a_list_says_how_many_items_it_leaves_out() -> None:
    assert take_first(["a", "b"], 2) == ["a", "b"]
    assert take_first(["a", "b", "c"], 2) == ["a", "b", "and 1 more"]
    assert take_first(["a"] * 1236, 2) == ["a", "a", "and 1,234 more"]


def test_names_are_joined_with_how_many_are_left_out() -> None:
    assert join_first(["a", "b", "c"]) == "a, b, c"
    assert join_first(["a", "b", "c"], 2) == "a, b and 1 more"
    assert join_first([]) == ""
