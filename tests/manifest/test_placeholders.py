"""Other tools' variables, which stand for nothing here, are told at their place."""

from __future__ import annotations

import pytest
from support.manifests import Read

LITERAL = {
    "${var.x}": "{{ var.x }}",
    "a-${ var.bucket.name }-b": "{{ var.name }}",
    "${bundle.target}": "{{ environment }}",
    "${workspace.current_user.userName}": "{{ var.userName }}",
    "${env:BUCKET}": "{{ var.bucket }}",
    "${oc.env:BUCKET,b}": "{{ var.bucket }}",
    "${BUCKET}": "{{ var.bucket }}",
    "${BUCKET:-hunter2}": "{{ var.bucket }}",
    "${resources.models['a'].id}": "{{ var.id }}",
}


@pytest.mark.parametrize(("text", "instead"), LITERAL.items(), ids=LITERAL)
def test_what_looks_like_another_tools_variable_is_told(text: str, instead: str, read: Read) -> None:
    (told,) = read(
        {"m.yaml": f'registered_models:\n  - name: a\n    description: "{text}"\n'}
    ).desired.warnings
    assert (told.code, told.severity) == ("literal-placeholder", "warning")
    assert str(told.at) == "m.yaml:3:18"
    assert f"`{instead}`" in told.hint
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    "text",
    ["${amount}", "$${var.x}", "$var", "${}", "${a b}", "{{ '${var.x}' }}", "cost: $ {var.x}", "${note: x}"],
)
def test_what_may_be_meant_is_not_told(text: str, read: Read) -> None:
    manifest = f'registered_models:\n  - name: a\n    description: "{text}"\n'
    assert read({"m.yaml": manifest}).desired.warnings == ()


def test_a_name_an_address_a_key_and_a_rendered_file_are_looked_at(read: Read) -> None:
    files = {
        "lac.yaml": "name: a\nstore: sqlite:///${env:DB}.db\n",
        "a.yaml": "registered_models:\n  - {name: '${var.n}', tags: {'${var.k}': v}}\n",
        "b.yaml.j2": "registered_models:\n  - name: b\n    description: ${var.b}\n",
    }
    told = read(files).desired.warnings
    assert [(str(d.at), d.detail.split("`")[1]) for d in told] == [
        ("a.yaml:2:12", "${var.n}"),
        ("a.yaml:2:31", "${var.k}"),
        ("b.yaml.j2:3:18", "${var.b}"),
        ("lac.yaml:2:8", "${env:DB}"),
    ]
    assert "`{{ env.DB }}`" in told[-1].hint


def test_many_places_of_one_are_told_once_and_many_are_bounded(read: Read) -> None:
    def manifest(texts: list[str]) -> dict[str, str]:
        rows = "".join(f"  - {{name: m{n}, description: '{text}'}}\n" for n, text in enumerate(texts))
        return {"m.yaml": f"registered_models:\n{rows}"}

    assert len(read(manifest(["${var.x}"] * 2_000)).desired.warnings) == 1
    assert len(read(manifest([f"${{var.x{n}}}" for n in range(2_000)])).desired.warnings) == 50
