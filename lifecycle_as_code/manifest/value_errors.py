"""Errors about values that don't fit their fields, and the mark that replaces such a value. Pure.

No error repeats a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from ..model.spec import Address, Spec, parse_address
from .yaml.nodes import UNCLEAR, Map, Plain, Seq, fraction
from .yaml.report import Report, guess, quote

REFUSED: Final[Any] = object()
"""The mark of a value whose problem is already reported."""


def unknown_field(
    node: Map,
    name: str,
    what: str,
    known: Collection[str],
    report: Report,
    way_outs: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Report a key that is not a field of `what`. `way_outs`: the hints for some of them."""
    detail = f"{quote(name)} is not a field of {what}."
    reference = name.removesuffix("_plaintext")
    if name in way_outs:
        hint = way_outs[name]
    elif reference != name and reference in known:
        hint = (
            f'no manifest holds a key: write `{reference}: "{{{{secrets/scope/key}}}}"`, and map that under '
            "`secrets` in lac.yaml"
        )
    else:
        hint = guess(name, known)
    report.add("unknown-field", node.place_of_key(name), detail, hint)


def missing_field(node: Map, name: str, what: str, report: Report) -> None:
    """Report a required field of `what`, at the item that lacks it."""
    article = "An" if what[:1] in "aeiou" else "A"
    report.add("missing-field", node.at, f"{article} {what} needs `{name}`.", f"add `{name}:`")


def not_text(value: Any, holder: Any, key: Any, report: Report, secret: bool) -> Any:
    """Report a value in place of text: most often a scalar that needs quotes."""
    if value.__class__ is not Plain:
        return bad_value(value, holder, key, report, "text", secret)
    code, name = "quote-it", name_of(key)
    if not value.text:
        code, detail = "bad-value", f"`{name}` is empty; expected text."
        hint = 'write "" for an empty text, or remove the field'
    elif secret:
        detail, hint = f"Not every YAML parser reads the value of `{name}` as text.", "quote it"
    else:
        detail = f"`{name}`: {quote(value.text)} is {meaning(value)}; expected text."
        hint = suggest_quotes(value.text)
    report.add(code, holder.place(key), detail, hint)
    return REFUSED


def read_address(
    text: str, holder: Any, key: Any, specs: Mapping[str, type[Spec]], report: Report
) -> Address | None:
    """The address at `holder[key]`; None if it is invalid, with its problem reported."""
    try:
        return parse_address(text, specs)
    except ValueError as error:
        report.add("bad-value", holder.place(key), f"{error}.")
        return None


def suggest_quotes(text: str) -> str:
    """The hint for a scalar that should be text."""
    return f'quote it: "{text}"' if len(text) <= 40 else "quote it"


def meaning(value: Plain) -> str:
    """The type of an unquoted scalar in YAML."""
    match value.value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
    return "a value that YAML parsers read differently"


def name_of(key: Any) -> str:
    """The name of a field, or of an item of a list, in a sentence."""
    return f"item {key + 1}" if isinstance(key, int) else str(key)


def bad_value(value: Any, holder: Any, key: Any, report: Report, expected: str, secret: bool) -> Any:
    """Report a value of the wrong type, unless it is already refused."""
    if value is REFUSED:
        return REFUSED
    hint = ""
    match value:
        case Map():
            actual = "a mapping"
        case Seq():
            actual = "a list"
            if expected == "a mapping" and value and all(isinstance(i, Map) and "key" in i for i in value):
                hint = "write it as `{key: value}`"
        case Plain(text=""):
            actual, hint = "empty", "write a value, or remove the field"
        case Plain():
            actual = quote(value.text)
            if expected.startswith("`true`") and value.value is UNCLEAR:
                hint = "write `true` or `false`"
            elif expected.endswith("number"):
                hint = "write it in plain decimals, such as `1500` or `0.5`"
        case str():
            actual = f"the text {quote(value)}" if value else "an empty text"
            number = expected.endswith("number") and fraction(value) is not None
            if number or (expected.startswith("`true`") and value.lower() in ("true", "false")):
                hint = "remove the quotes"
        case None:
            actual = "empty"
        case _:
            actual = f"{'a boolean' if isinstance(value, bool) else 'a number'} from a template"
            hint = "convert it to text with `| string`" if expected == "text" else ""
    if secret and isinstance(value, str | Plain):
        actual = ""
    state = f"is {actual}" if actual else "has the wrong type"
    report.add("bad-value", holder.place(key), f"`{name_of(key)}` {state}; expected {expected}.", hint)
    return REFUSED


def words_of(name: str) -> str:
    """`ServedEntity` as `served entity`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def describe_error(error: Any, value: Any, path: str, secret: bool) -> str:
    """One of pydantic's errors as a sentence that begins with the field; `path` is empty for the item itself.
    Kinds' own texts stay."""
    name = f"`{path}`" if path else "This item"
    if secret:
        return f"{name}: the value is not allowed here."
    if error["type"] == "value_error":
        return f"{name}: {str(error['ctx']['error']).rstrip('.')}."
    # "Input should be …", "String should have …": the field is named already
    rest = error["msg"].partition(" ")[2] if " should " in error["msg"] else error["msg"]
    text = value.text if isinstance(value, Plain) else value
    subject = quote(text) if isinstance(text, str) else "it"
    return f"{name}: {subject} {rest.rstrip('.')}."
