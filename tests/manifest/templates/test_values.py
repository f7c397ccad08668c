"""Templates: the same as Jinja where they are supported, plain data only, and over in about a second."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import StrictUndefined
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import ImmutableSandboxedEnvironment
from support.manifests import Problems, Read

from lifecycle_as_code.manifest.templates import Renderer, TemplateError
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.spec import Address

Errors = Callable[..., tuple[Diagnostic, ...]]

VARIABLES: dict[str, Any] = {
    "team": "risk",
    "n": 3,
    "share": 0.9,
    "on": True,
    "names": ["b", "a", "b"],
    "owner": {"name": "Ada", "items": "kept"},
    "big": list(range(20_000)),
    "long": "x" * 60_000,
}
GIVEN = {"var": VARIABLES, "environment": "prod"}


def value(text: str) -> Any:
    return Renderer(VARIABLES, "prod").value(text)


def error(text: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        value(text)
    return caught.value


@pytest.mark.parametrize(
    "expression",
    [
        "var.team",
        "var.n + 1",
        "var.n * 2 - 7 // 2 % 5",
        "-var.n / 2",
        "var.share",
        "var.on",
        "not var.on or var.n > 2 and var.n <= 3",
        "1 < var.n < 3",
        "'a' in var.names and 'z' not in var.names",
        "var['team'] ~ '-' ~ var.n",
        "var.owner.name",
        "var.names[0]",
        "var.names[-1]",
        "var.names[1:]",
        "var.team[::2]",
        "'yes' if environment == 'prod' else 'no'",
        "var.team | upper",
        "var.team | capitalize | lower",
        "' a ' | trim",
        "var.team | replace('r', 'R')",
        "var.names | join(', ')",
        "var.names | length",
        "var.names | first",
        "var.names | last",
        "var.names | sort",
        "var.names | unique | list",
        "var.names | sort | reverse | list",
        "[3, 1, 2] | max",
        "[3, 1, 2] | min",
        "[3, 1, 2] | sum",
        "'3' | int + 1",
        "'0.5' | float",
        "['b', 'A', 'a'] | sort",
        "['b', 'A', 'a'] | unique | list",
        "['b', 'A', 'C'] | max",
        "'ab' | first",
        "'ab' | list",
        "'ab' | reverse",
        "var.owner | list",
        "var.owner.keys() | list",
        "'a' 'b' ~ 'c'",
        "[5, 6].1",
        "'abc'[1]",
        "'yes' if var.n > 2",
        "2.567 | round(1)",
        "-3 | abs",
        "var.n | string",
        "range(3) | list",
        "range(1, 7, 2) | list",
        "{'a': 1}",
        "[1, 'a', none]",
        "none is none",
        "var.n is odd",
        "var.n is even",
        "var.n is number",
        "var.team is string",
        "var.owner is mapping",
        "var.team is number",
        "var.team is sequence",
        "true is number",
        "true",
        "'{{'",
    ],
)
def test_an_expression_means_what_it_means_to_jinja(expression: str) -> None:
    native = NativeEnvironment(undefined=StrictUndefined).compile_expression(expression)
    expected = native(**GIVEN)
    found = value(f"{{{{ {expression} }}}}")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "a {{ var.team }} of {{ environment }}\n",
        "{{ var.team }}{{ var.n }}",
        "{% for name in var.names %}{{ loop.index }}/{{ loop.length }} {{ name }}; {% endfor %}",
        "{% for name in var.names if name == 'b' %}{{ loop.last }}{% else %}none{% endfor %}",
        "{% for name in [] %}x{% else %}none{% endfor %}",
        "{% for key, item in {'a': 1, 'b': 2}.items() %}{{ key }}={{ item }} {% endfor %}",
        "{% for a, (b, c) in [[1, [2, 3]]] if b > 1 %}{{ a }}{{ b }}{{ c }}{% endfor %}",
        "{% for a in [1, 2] %}{% for b in [3] %}{{ loop.revindex }}{% endfor %}{{ loop.last }}{% endfor %}",
        "{% if false %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}",
        "{% if var.n > 5 %}a{% elif var.n > 2 %}b{% else %}c{% endif %}",
        "{% set x = var.n + 1 %}{{ x }}",
        "{% set x = 1 %}{% for y in [1, 2] %}{% set x = y %}{{ x }}{% endfor %}{{ x }}",
        "{# a comment #}text{% raw %}{{ as it is }}{% endraw %}",
        "a\n{% if true %}\n  b\n{% endif %}\nc\n",
        "{%- if true -%}  b  {%- endif -%}",
        "{{ '{{' }} x {{ '}}' }}",
        "{{ var.share }} and {{ 1.0 }}",
    ],
)
def test_a_text_renders_as_in_jinja(text: str) -> None:
    jinja = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    # we write booleans as YAML does
    expected = jinja.from_string(text).render(**GIVEN).replace("True", "true").replace("False", "false")
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ var.names }}", VARIABLES["names"]),
        ("{{ var.owner.items }}", "kept"),
        ("{{var.n}}", 3),
        ("{{ var.on }}!", "true!"),
        ("{{ var.names | tojson }}", '["b", "a", "b"]'),
        ("no template", "no template"),
        ("a{# comment #}", "a"),
        ("{{ var.owner.items() | length }}", 2),
        ("{{ var.owner | items }}", [["name", "Ada"], ["items", "kept"]]),
        ("{{ var.names | unique }}", ["b", "a"]),
        ("{{ 1, 2 }}", [1, 2]),
        ("{{ {1: true, 'a': none} }}", {"1": True, "a": None}),
        ("{{ 5 | round(-1000000000) }}", 0.0),
    ],
)
def test_a_value_that_is_one_expression_keeps_its_type(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("{{ var.tema }}", "undefined-name", "did you mean `team`?"),
        ("{{ vra.team }}", "undefined-name", "did you mean `var`?"),
        ("{{ var.owner.nam }}", "undefined-name", "did you mean `name`?"),
        ("{{ var.owner['nam'] }}", "undefined-name", "did you mean `name`?"),
        ("{{ 1 if false else var.tema }}", "undefined-name", "`tema`"),
        ("{{ 'x' if true else var.tema }}", "undefined-name", "`tema`"),
        ("{% if false %}{{ var.tema }}{% endif %}", "undefined-name", "`tema`"),
        ("{{ var.names[7] }}", "undefined-name", "no item 7"),
        ("{{ env.HOME }}", "env-not-allowed", "use a variable"),
        ("{{ env.HOME | upper }}", "env-not-allowed", "use a variable"),
        ("{% if false %}{{ env['HOME'] }}{% endif %}", "env-not-allowed", "use a variable"),
        ("{{ var.tema | default('x') }}", "undefined-name", "`tema`"),
        ("{{ var.team | default('x') }}", "template-error", "no filter `default`"),
        ("{{ var.names | map(attribute='x') }}", "template-error", "no filter `map`"),
        ("{{ var.team | uper }}", "template-error", "did you mean `upper`?"),
        ("{{ var.team is defined }}", "template-error", "no test `defined`"),
        ("{{ var.team.upper() }}", "template-error", "Only `range(…)` can be called"),
        ("{{ var.team.format }}", "template-error", "without items has no"),
        ("{{ var.__class__ }}", "undefined-name", "`__class__`"),
        ("{{ ''.__class__.__mro__ }}", "template-error", "without items has no"),
        ("{{ range.__init__ }}", "undefined-name", "`range`"),
        ("{{ cycler('a') }}", "template-error", "Only `range(…)` can be called"),
        ("{{ lipsum() }}", "template-error", "Only `range(…)` can be called"),
        ("{% macro m() %}{% endmacro %}", "template-error", "`macro` is not supported"),
        ("{% include 'x' %}", "template-error", "`include` is not supported"),
        ("{% extends 'x' %}", "template-error", "`extends` is not supported"),
        ("{% set x %}y{% endset %}", "template-error", "`assignblock` is not supported"),
        ("{% for x in var.names recursive %}{% endfor %}", "template-error", "not supported"),
        ("{{ 1 + 'a' }}", "template-error", "requires a number"),
        ("{{ 'a' * 3 }}", "template-error", "requires a number"),
        ("{{ 'a' < 1 }}", "template-error", "fails for these values"),
        ("{{ 1 / 0 }}", "template-error", "fails for these values"),
        ("{{ 'x' | int }}", "template-error", "fails for these values"),
        ("{{ 'x' if false }}", "template-error", "add an `else`"),
        ("a {{ var.names }}", "template-error", "use `| join"),
        ("a {{ none }}", "template-error", "null"),
        ("{{ var.team", "template-error", "Unexpected end of template"),
        ("{{ 1 + }}", "template-error", "Unexpected"),
        ("{% endfor %}", "template-error", "Encountered unknown tag"),
        ("{{ var.owner(name='x') }}", "template-error", "can be called"),
        ("{{ var.owner.items(name='x') }}", "template-error", "Named arguments"),
        ("{{ var.names | join(d=', ') }}", "template-error", "Named arguments"),
        ("{{ range(*[3]) }}", "template-error", "Named arguments"),
        ("{{ var.names | sort(false, false, '__class__') }}", "template-error", "too many arguments"),
        ("{{ '%1000000000d' is odd }}", "template-error", "requires a number"),
        ("{{ [] | first }}", "template-error", "empty"),
        ("{{ 'a'.items() }}", "template-error", "requires a mapping"),
        ("{% for nam in [1] %}{{ name }}{% endfor %}", "undefined-name", "did you mean `nam`?"),
        ("{% if false %}{% set x = 1 %}{% endif %}{{ x }}", "undefined-name", "`x`"),
        ("{% for a in [1] %}{{ loop }}{% endfor %}", "template-error", "can't be part of a text"),
        ("{% for a in [1] %}{{ loop._iterable }}{% endfor %}", "template-error", "without items has no"),
        ("{% for a in [1] %}{{ loop['__class__'] }}{% endfor %}", "template-error", "without items has no"),
        ("{% for a in [1] %}{{ loop.cycle(1) }}{% endfor %}", "template-error", "can be called"),
        ("{% for a in [1] %}{{ loop | tojson }}{% endfor %}", "template-error", "fails for these values"),
        (
            "{% for a in [1] %}{% for b in loop %}{% endfor %}{% endfor %}",
            "template-error",
            "requires a list",
        ),
        ("{% set a.b = 1 %}", "template-error", "`nsref` is not supported"),
        ("{{ [1, 2][0:1, 1] }}", "template-error", "`slice` is not supported"),
        ("{{ self }}", "undefined-name", "`self`"),
        ("{{ context }}", "undefined-name", "`context`"),
        ("{{ literals }}", "undefined-name", "`literals`"),
        ("{{ environment.call_filter }}", "template-error", "without items has no"),
        ("{{ environment['filters'] | length }}", "template-error", "without items has no"),
        ("{{ env }}", "env-not-allowed", "`env` would put"),
    ],
)
def test_what_can_not_be_filled_in(text: str, code: str, says: str) -> None:
    found = error(text)
    assert found.code == code
    assert says in f"{found.detail} {found.hint}"


def test_the_environment_is_asked_for_each_time_though_the_code_is_kept() -> None:
    renderer = Renderer(VARIABLES, "prod")
    text = "{{ env.HOST ~ ':1' }}"
    assert renderer.value(text, {"HOST": "a"}) == "a:1"
    assert renderer.value(text, {"HOST": "b"}) == "b:1"
    for env, code in ((None, "env-not-allowed"), ({}, "env-not-set")):
        with pytest.raises(TemplateError) as caught:
            renderer.value(text, env)
        assert caught.value.code == code


def test_templates_that_differ_in_their_literals_share_their_code() -> None:
    code = (
        "import sys; from lifecycle_as_code.manifest.templates import Renderer; "
        "renderer = Renderer({'n': 1}, 'e'); made = []; "
        "sys.addaudithook(lambda name, given: name == 'exec' and made.append(given[0].co_filename)); "
        "values = [renderer.value('%d {{ var.n + %d }} {{ \\'%d\\' }}' % (i, i, i)) for i in range(200)]; "
        "assert values == [f'{i} {1 + i} {i}' for i in range(200)]; "
        "assert renderer.value('1 {{ var.n - 1 }} {{ \\'1\\' }}') == '1 0 1'; "
        "print(made.count('<template>'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"]


NESTED = "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "text",
    [
        NESTED,
        "{% for a in var.big %}{% for b in var.big %}{% set c = 1 %}{% endfor %}{% endfor %}",
        "{{ range(10 ** 9) }}",
        "{{ range(1000000000) | list }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 9223372036854775807 * 9223372036854775807 }}",
        "{{ 1e308 * 10 }}",
        "{{ var.long | replace('x', var.long) }}",
        "{{ var.big | join(var.long) }}",
        "{% for a in range(99999) %}{% if a in var.big %}{% endif %}{% endfor %}",
        "{% for a in range(99999) %}{{ var.big | sort | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ var.long }}{% endfor %}",
        "".join(f"{{% set a{i + 1} = a{i} ~ a{i} %}}" for i in range(60)).replace("a0 ", "var.long "),
        "".join(f"{{% set a{i + 1} = a{i} + a{i} %}}" for i in range(60)).replace("a0 ", "var.big "),
        "".join(f"{{% set a{i} = 1 %}}" for i in range(3_000)) + "{% if 1 %}{% endif %}" * 3_000,
        "{% for a in [] %}" * 20 + "{{ a }}" * 6_000 + "{% endfor %}" * 20,
        "{% for a in [] %}" * 90 + "{% endfor %}" * 90,
        "{% if 1 %}" + "{% elif 1 %}" * 4_000 + "{% endif %}",
        "{{ " + "(" * 5_000 + ")" * 5_000 + " }}",
        "{{ " + "1 + " * 50_000 + "1 }}",
        "{{ " + "not " * 50_000 + "1 }}",
        "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
        "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
        "{{ " + "9" * 100_000 + " }}",
        "{{ '" + "9" * 5_000 + "' | int }}",
        "{{ var.long | center(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
    ],
    ids=lambda text: text[:40],
)
def test_a_template_that_would_never_end_does(text: str) -> None:
    began = time.process_time()
    assert error(text).code == "template-error"
    assert time.process_time() - began < 4


def test_a_large_honest_template_is_within_the_budget() -> None:
    text = (
        "{% for i in range(10000) %}  - name: model-{{ i }}\n    tags: {team: {{ var.team }}}\n{% endfor %}"
    )
    assert value(text).count("\n") == 20_000


def test_templates_in_a_manifest(read: Read) -> None:
    desired = read(
        {
            "lac.yaml": "name: s\nvariables: {team: risk, n: 2, labels: {a: b}}\nenvironments: {prod: {}}",
            "m.yaml": (
                "registered_models:\n"
                "  - name: 'fraud-{{ environment }}'\n"
                "    description: |\n      Of {{ var.team }}.\n"
                "    tags: '{{ var.labels }}'\n"
                "    versions: [{version: '{{ var.n + 1 }}', source: 's3://{{ var.team }}/{{ var.n }}'}]\n"
            ),
        },
        environment="prod",
    ).desired
    model, version = desired.objects.values()
    assert model.model_dump() == {"name": "fraud-prod", "description": "Of risk.\n", "tags": {"a": "b"}}
    assert version.address == Address("model_version", ("fraud-prod", 3))
    assert version.source == "s3://risk/2"


def test_what_a_template_gives_is_not_a_template(read: Read) -> None:
    """A variable's text is never code, however it came in."""
    project = "name: s\nvariables: {text: ''}"
    manifest = (
        "registered_models:\n  - &m {name: '{{ var.text }}', tags: {a: '{{ var.text }}'}}\nx-again: *m\n"
    )
    given = {"text": "{{ env.HOME }}"}
    for name, text in (("m.yaml", manifest), ("m.yaml.j2", manifest)):
        desired = read({"lac.yaml": f"{project}\ninclude: [{name}]", name: text}, variables=given).desired
        assert [spec.address.name for spec in desired.objects.values()] == ["{{ env.HOME }}"]


def test_a_problem_in_a_template_has_its_value_s_place(problems: Problems) -> None:
    text = (
        "registered_models:\n  - name: a\n    tags: {a: '{{ var.x }}', '{{ b }}': c, d: '{{ env.HOME }}'}\n"
    )
    assert problems(text) == ["3:15 undefined-name", "3:30 template-in-key", "3:47 env-not-allowed"]


def test_a_template_s_number_is_no_text(errors: Errors) -> None:
    (found,) = errors({"m.yaml": "registered_models: [{name: '{{ 1 + 1 }}'}]"})
    assert found.code == "bad-value"
    assert "| string" in found.hint


ENDPOINT = (
    "serving_endpoints: [{{name: e, served_entities: [{{name: a, entity_name: m, entity_version: 1, {}}}]}}]"
)


def test_a_secret_reference_stays_as_it_is(read: Read) -> None:
    written = "environment_vars: {KEY: '{{ env.KEY }}', TEAM: '{{ environment }}'}"
    (endpoint,) = read({"m.yaml": ENDPOINT.format(written)}).desired.objects.values()
    entity = endpoint.served_entities[0]
    assert entity.environment_vars == {"KEY": "{{ env.KEY }}", "TEAM": "default"}


@pytest.mark.parametrize("written", ["'Bearer {{ env.KEY }}'", "'{{ env.KEY | upper }}'", "'{{ env }}'"])
def test_a_secret_reference_is_the_whole_value(written: str, problems: Problems) -> None:
    assert problems(ENDPOINT.format(f"environment_vars: {{KEY: {written}}}")) == ["1:118 env-not-allowed"]


J2 = """\
# teams
registered_models:
{% for name in ["a", "b"] %}
  - name: {{ name }}
    {# said once #}
    {% if name == "b" %}
    wrong: 1
    {% endif %}
    tags: {team: {{ var.team | tojson }}}
{% endfor %}
  - nme: c
"""


def test_a_file_that_is_rendered_first(read: Read) -> None:
    files = {
        "lac.yaml": "name: s\nvariables: {team: risk}",
        "m.yaml.j2": J2.replace("wrong: 1", "description: B").replace("nme", "name"),
    }
    models = list(read(files).desired.objects.values())
    assert [model.address.name for model in models] == ["a", "b", "c"]
    assert [model.description for model in models] == ["", "B", ""]
    assert models[0].tags == {"team": "risk"}


def test_a_rendered_file_s_problems_stand_at_the_template_s_lines(errors: Errors) -> None:
    found = errors({"lac.yaml": "name: s\nvariables: {team: risk}", "m.yaml.j2": J2})
    places = [(d.at.file, d.at.line, d.code) for d in found if d.at]
    assert places == [
        ("m.yaml.j2", 7, "unknown-field"),
        ("m.yaml.j2", 11, "unknown-field"),
        ("m.yaml.j2", 11, "missing-field"),
    ]


def test_the_same_problem_from_a_loop_is_told_once(errors: Errors) -> None:
    text = "registered_models:\n{% for i in range(5) %}\n  - name: a{{ i }}\n    wrong: x\n{% endfor %}\n"
    assert len(errors({"m.yaml.j2": text})) == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("registered_models:\n{% for x in %}\n{% endfor %}\n", "2 template-error"),
        ("a\n\n{{ var.x }}\n", "3 undefined-name"),
        ("a\n{% if true %}\n{{ 1 + 'a' }}\n{% endif %}", "3 template-error"),
        ("a\n{{ env.HOME }}\n", "2 env-not-allowed"),
        ("registered_models:\n{{ '[' }}\n", "3 yaml-syntax"),
        ("a\n{{ [\n  1,\n  1 + 'a',\n] }}\n", "4 template-error"),
        ("a\n{{ 'a'\n  | upper\n  | abs }}\n", "4 template-error"),
        ("a\n{% if\n  1\n  < 'a' %}\n{% endif %}\n", "3 template-error"),
        ("{% for a in [1,\n 2] if a.b %}\n{% endfor %}", "2 template-error"),
        ("a\n{% for a in [1] %}\n\n{{ [a] }}\n{% endfor %}", "4 template-error"),
    ],
)
def test_a_template_file_that_can_not_be_rendered(text: str, place: str, errors: Errors) -> None:
    (found,) = errors({"m.yaml.j2": text})
    assert found.at
    assert f"{found.at.line} {found.code}" == place


def test_jinja_is_imported_for_real_templates_only() -> None:
    code = (
        "import sys; from lifecycle_as_code.manifest import load; "
        "from lifecycle_as_code.manifest.templates import Renderer; "
        "Renderer({'a': 1}, 'e').value('x {{ var.a }} {{ environment }}'); "
        "print('jinja2' in sys.modules, end=' '); "
        "Renderer({'a': 1}, 'e').value('{{ var.a + 1 }}'); print('jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
