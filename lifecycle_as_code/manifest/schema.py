"""JSON Schema (draft 2020-12) for editors, generated from the spec classes. Pure.

It covers sections, fields, sugar, types, required fields, choices and bounds. It doesn't cover relations
between objects (an alias without its version), and rules in a kind's code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from ..model.spec import Derived, Part, Spec, find_fields
from .blocks.objects import BLOCKS, LIFECYCLE, LifecycleBlock
from .blocks.policy_shapes import RULES, TEAMS
from .settings import ProjectFile
from .shapes import EXCLUSIVE, Shape, shapes_of

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TEMPLATE: Final = {"type": "string", "pattern": r"\{\{", "description": "A template: `{{ var.… }}`."}
_TEMPLATE_REF: Final = {"$ref": "#/$defs/template"}

Json = dict[str, Any]


def manifest_schema(specs: Mapping[str, type[Spec]]) -> Json:
    """The schema of all manifests except lac.yaml. Equal specs in equal order give equal schemas."""
    parts = _definitions(list(specs.values()))
    definitions: Json = {"template": dict(TEMPLATE)}
    properties: Json = {}
    for section, shape in shapes_of(specs).items():
        properties[section] = {
            "type": ["array", "null"],
            "items": _item(shape, parts, definitions),
            "description": parts[shape.spec.__name__].get("description", ""),
        }
    blocks = _definitions([LifecycleBlock, *BLOCKS.values()])
    rules = _definitions([*RULES.values()])
    for name, block in (BLOCKS | RULES).items():
        about = (blocks | rules)[block.__name__].get("description", "")
        items = {"$ref": f"#/$defs/{block.__name__}"}
        properties[name] = {"type": "array", "items": items, "description": about}
    definitions |= blocks
    properties[TEAMS] = {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
        "description": "Names for several actors each, for `only: {teams: […]}` in policies.",
    }
    definitions |= {name: _allow_templates(part) for name, part in rules.items()}
    classes = {spec.__name__ for spec in specs.values()}
    definitions |= {name: _allow_templates(part) for name, part in parts.items() if name not in classes}
    return {
        "$schema": DIALECT,
        "title": "lac manifest",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {"description": "Free for your own use, such as YAML anchors."}},
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def project_schema() -> Json:
    """The schema of lac.yaml."""
    parts = _definitions([ProjectFile])
    project = parts.pop(ProjectFile.__name__)
    return {"$schema": DIALECT, "title": "lac.yaml", **project, "$defs": dict(sorted(parts.items()))}


class _Generator(GenerateJsonSchema):
    """Without titles that repeat names, and without derived fields."""

    ignored_warning_kinds: set[Any] = {"skipped-choice", "non-serializable-default"}  # pydantic's

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> Json:
        made = super().model_schema(schema)
        made.pop("title", None)
        part: type[BaseModel] = schema["cls"]
        if issubclass(part, Part):
            for name in find_fields(part, Derived):
                made.get("properties", {}).pop(name, None)
        return made


def _definitions(classes: list[type[Any]]) -> dict[str, Json]:
    """Each class and each part in them as a schema, by class name."""
    _, schema = models_json_schema([(cls, "validation") for cls in classes], schema_generator=_Generator)
    definitions: dict[str, Json] = schema["$defs"]
    return {name: _unwrap(part) for name, part in definitions.items()}


def _unwrap(node: Any) -> Any:
    """Descriptions without a docstring's line breaks."""
    if isinstance(node, dict):
        return {
            key: re.sub(r"(?<!\n)\n(?!\n)", " ", value)
            if key == "description" and isinstance(value, str)
            else _unwrap(value)
            for key, value in node.items()
        }
    return [_unwrap(item) for item in node] if isinstance(node, list) else node


def _item(shape: Shape, parts: Mapping[str, Json], definitions: Json) -> Json:
    """A reference to the schema of an item, which is added to `definitions`."""
    name = shape.spec.kind if shape.nest is None else f"{shape.spec.kind}_in_{shape.nest.section}"
    if name not in definitions:
        whole = parts[shape.spec.__name__]
        definitions[name] = made = _allow_templates(whole)
        made["properties"] = {
            field: read for field, read in made["properties"].items() if field in shape.fields
        } | {field: _sugar(inner, parts, definitions) for field, inner in shape.nests.items()}
        if "required" in made:
            made["required"] = [field for field in made["required"] if field in shape.required]
        made["properties"][LIFECYCLE] = {"$ref": f"#/$defs/{LifecycleBlock.__name__}"}
        if shape.claims:
            claim = shape.claims[0]
            about = f"The scope of `{claim}`: grants of roles, or `all`, which includes users' own."
            made["properties"][EXCLUSIVE] = {
                "enum": ["roles", "all"],
                "default": "roles",
                "description": about,
            }
            made["dependentRequired"] = {EXCLUSIVE: [claim]}
    return {"$ref": f"#/$defs/{name}"}


def _sugar(shape: Shape, parts: Mapping[str, Json], definitions: Json) -> Json:
    """The schema of objects in another item's field."""
    whole = parts[shape.spec.__name__]
    about = whole.get("description", "").partition("\n\n")[0]
    nest = shape.nest
    if nest is not None and nest.map_to is not None:
        key, value = (whole["properties"][field] for field in nest.map_to)
        names = {word: rule for word, rule in key.items() if word in ("pattern", "minLength", "maxLength")}
        sugar = {"type": "object", "additionalProperties": _field(value), "description": about}
        return sugar | ({"propertyNames": names} if names else {})
    if nest is not None and nest.claims:
        about = f"{about} The list is complete: anything else is drift. `[]` means that there are none."
    return {"type": "array", "items": _item(shape, parts, definitions), "description": about}


def _allow_templates(schema: Json) -> Json:
    """An object's schema whose scalar fields accept templates, too."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: _field(field) for name, field in made["properties"].items()}
    return made


def _field(schema: Json) -> Json:
    """A field's schema that accepts a template wherever it accepts a scalar."""
    if schema.get("type") == "array" and "items" in schema:
        return schema | {"items": _field(schema["items"])}
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return schema | ({"additionalProperties": _field(inner)} if isinstance(inner, dict) else {})
    about: Json = {word: schema[word] for word in ("description", "default") if word in schema}
    core = {word: rule for word, rule in schema.items() if word not in about}
    if "anyOf" in core:
        choices = [c if _is_scalar(c) else _field(c) for c in core["anyOf"]]
        text = any(choice == {"type": "string"} for choice in choices)
        scalar = any(map(_is_scalar, choices))
        return {**about, "anyOf": choices + ([_TEMPLATE_REF] if scalar and not text else [])}
    if _is_scalar(core) and core != {"type": "string"}:
        return {**about, "anyOf": [core, _TEMPLATE_REF]}
    return schema


def _is_scalar(schema: Json) -> bool:
    scalar = schema.get("type") in ("string", "integer", "number", "boolean")
    return scalar or "enum" in schema or "const" in schema
