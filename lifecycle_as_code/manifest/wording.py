"""What is said about values that don't fit, and the mark that is left in their place. Pure.

A value of a secret is never repeated.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from .yaml.nodes import UNCLEAR, Map, Plain, Seq, fraction
from .yaml.report import Report, guess, shown


class _Refused:
    """Stands for a value whose problem is already reported."""

    def __repr__(self) -> str:
        return "REFUSED"


REFUSED: Final = _Refused()


def unknown_field(node: Map, name: str, what: str, known: Collection[str], report: Report) -> None:
    """Report a key that is no field of `what`."""
    detail = f"{shown(name)} is not a field of {what}."
    report.add("unknown-field", node.place_of_key(name), detail, guess(name, known))


def missing_field(node: Map, name: str, what: str, report: Report) -> None:
    """Report a field that `what` can't do without, at the item that lacks it."""
    report.add("missing-field", node.at, f"{_a(what)} needs `{name}`.", f"add `{name}:`")


def _a(what: str) -> str:
    return f"{'An' if what[:1] in 'aeiou' else 'A'} {what}"


def not_text(value: Any, holder: Any, key: Any, report: Report, secret: bool) -> Any:
    """Report what stands where text is wanted: most often a scalar that needs quotes."""
    if value.__class__ is not Plain:
        return bad_value(value, holder, key, report, "text", secret)
    if not value.text:
        report.add(
            "bad-value",
            holder.place(key),
            f"`{name_of(key)}` has no value, and text is wanted.",
            'write "" for an empty text, or leave the field out',
        )
        return REFUSED
    if secret:
        detail, hint = (
            f"The value of `{name_of(key)}` is not read as text by every reader of YAML.",
            "quote it",
        )
    else:
        detail = f"`{name_of(key)}`: {shown(value.text)} is {meaning(value)}, and text is wanted."
        hint = quoted(value.text)
    report.add("quote-it", holder.place(key), detail, hint)
    return REFUSED


def quoted(text: str) -> str:
    """The way out for a scalar that should be text."""
    return f'quote it: "{text}"' if len(text) <= 40 else "quote it"


def meaning(value: Plain) -> str:
    """What YAML takes an unquoted scalar for."""
    match value.value:
        case None:
            return "no value"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
    return "read differently by different readers of YAML"


def name_of(key: Any) -> str:
    """A field, or an item of a list, in a sentence."""
    return f"item {key + 1}" if isinstance(key, int) else str(key)


def bad_value(value: Any, holder: Any, key: Any, report: Report, wanted: str, secret: bool) -> Any:
    """Report a value of the wrong sort, unless it is already refused."""
    if value is REFUSED:
        return REFUSED
    hint = ""
    match value:
        case Map():
            found = "a mapping"
        case Seq():
            found = "a list"
        case Plain(text=""):
            found, hint = "nothing", "write a value, or leave the field out"
        case Plain():
            found = shown(value.text)
            if wanted.startswith("`true`") and value.value is UNCLEAR:
                hint = "write `true` or `false`"
            elif wanted.endswith("number"):
                hint = "write it in plain decimals, such as `1500` or `0.5`"
        case str():
            found = f"the text {shown(value)}" if value else "an empty text"
            number = wanted.endswith("number") and fraction(value) is not None
            if number or (wanted.startswith("`true`") and value.lower() in ("true", "false")):
                hint = "leave the quotes away"
        case None:
            found = "nothing"
        case _:
            found = f"{'true or false' if isinstance(value, bool) else 'a number'}, given by a template"
            hint = "turn it into text with `| string`" if wanted == "text" else ""
    if secret and isinstance(value, str | Plain):
        found = "something else"
    report.add("bad-value", holder.place(key), f"`{name_of(key)}` is {found}; {wanted} is wanted.", hint)
    return REFUSED


def words_of(name: str) -> str:
    """`ServedEntity` as `served entity`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def reworded(error: Any, value: Any, path: str, secret: bool) -> str:
    """One of pydantic's complaints as a sentence that begins with the field. Kinds' own are kept."""
    if secret:
        return f"`{path}`: the value is not allowed here."
    if error["type"] == "value_error":
        return f"`{path}`: {str(error['ctx']['error']).rstrip('.')}."
    # "Input should be …", "String should have …": what it is about is said already
    rest = error["msg"].partition(" ")[2] if " should " in error["msg"] else error["msg"]
    text = value.text if isinstance(value, Plain) else value
    written = shown(text) if isinstance(text, str) else "it"
    return f"`{path}`: {written} {rest.rstrip('.')}."
