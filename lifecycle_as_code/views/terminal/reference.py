"""The reference of kinds and their fields, made from the Spec classes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import cleandoc
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from ...model.spec import Derived, Immutable, Key, Part, Ref, Spec, WriteOnly, find_fields, find_markers
from ..text import PLAIN, Paint, three_columns


def kinds(specs: Iterable[type[Spec]], paint: Paint = PLAIN) -> str:
    """Each kind with its section and a summary, on one line."""
    return three_columns([(spec.kind, f"{spec.section}:", _first_line(spec)) for spec in specs], paint)


def kind(spec: type[Spec], paint: Paint = PLAIN) -> str:
    """One kind in full: where it may be written, and every field with its type, rules and words."""
    lines = [paint(spec.kind, "strong"), *_indent(cleandoc(spec.__doc__ or ""), 2), ""]
    lines.append(f"  section  {paint(f'{spec.section}:', 'cyan')}")
    lines += [f"  nested   {paint(f'{nest.field}:', 'cyan')} under {nest.section}" for nest in spec.nests]
    lines.append(f"  address  {spec.kind}.{'/'.join(f'<{name}>' for name, _ in find_markers(spec, Key))}")
    example = ["", "  example", *_indent(spec.example, 4)] if spec.example else []
    return "\n".join([*lines, "", *_fields(spec, paint, 2), *example])


def _fields(part: type[Part], paint: Paint, indent: int) -> Iterator[str]:
    hidden = find_fields(part, Derived)
    for name, field in part.model_fields.items():
        if name in hidden:
            continue
        rules = ", ".join([_type(field.annotation), *_rules(part, name, field)])
        yield f"{' ' * indent}{paint(name, 'strong')}  {paint(rules, 'faint')}"
        yield from _indent(cleandoc(field.description or ""), indent + 4)
        for inner in _parts(field.annotation):
            yield from _fields(inner, paint, indent + 4)


def _rules(part: type[Part], name: str, field: FieldInfo) -> Iterator[str]:
    if name in find_fields(part, Key):
        yield "key"
    elif field.is_required():
        yield "required"
    elif field.default not in (None, "") and field.default_factory is None:
        yield f"default {field.default}"
    for rule in field.metadata:
        if isinstance(rule, Ref):
            yield f"refers to {rule.kind}"
        elif isinstance(rule, Immutable):
            yield f"can't be changed in place ({rule.way_out})"
        elif isinstance(rule, WriteOnly):
            yield "write-only"


def _type(annotation: Any) -> str:
    """The annotation in a reader's words."""
    if annotation is None or annotation is type(None):
        return "null"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is None:
        return {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}.get(
            getattr(annotation, "__name__", ""), "object" if _is_part(annotation) else str(annotation)
        )
    if hasattr(annotation, "__metadata__"):
        return _type(args[0])
    name = getattr(origin, "__name__", str(origin))
    if name == "Literal":
        return " | ".join(map(str, args))
    if name in ("Union", "UnionType"):
        return " | ".join(_type(arg) for arg in args if arg is not type(None))
    if name in ("Mapping", "dict"):
        return f"mapping of {_type(args[1])}"
    return f"list of {_type(args[0])}"


def _parts(annotation: Any) -> Iterator[type[Part]]:
    """The Parts that an annotation mentions."""
    if _is_part(annotation):
        yield annotation
    for arg in get_args(annotation):
        yield from _parts(arg)


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def _first_line(spec: type[Spec]) -> str:
    return cleandoc(spec.__doc__ or "").partition("\n")[0]


def _indent(text: str, indent: int) -> list[str]:
    return [f"{' ' * indent}{line}".rstrip() for line in text.splitlines()]
