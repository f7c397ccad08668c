"""Secret references: resolved on the node, never told in an error."""

import pytest

from lifecycle_as_code.serving.references import LOCAL_RAY, is_reference, names_in, resolve, resolve_all

NODE = {"A": "one", "B": "two {{ env.A }}"}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("plain", "plain"),
        ("{{ env.A }}", "one"),
        ("{{env.A}}", "one"),
        ("x-{{ env.A }}-{{ env.A }}", "x-one-one"),
        ("{{ env.B }}", "two {{ env.A }}"),
        ("{{ var.A }}", "{{ var.A }}"),
    ],
    ids=["plain", "alone", "tight", "inside", "once only", "another namespace"],
)
def test_a_reference_becomes_the_nodes_value(value: str, resolved: str) -> None:
    assert resolve(value, NODE) == resolved


@pytest.mark.parametrize(
    ("value", "alone"),
    [
        ("{{ env.A }}", True),
        ("{{env.A}}", True),
        ("{{\tenv.A\n}}", True),
        ("{{\u00a0env.A }}", False),
        ("{{ env.A }}\n", False),
        ("{{ env.A }}{{ env.A }}", False),
        ("{{ env.\u00c4 }}", False),
        ("{{ env.1 }}", False),
        ("{{ var.A }}", False),
    ],
)
def test_a_secret_is_a_reference_alone(value: str, alone: bool) -> None:
    assert is_reference(value) is alone
    if alone:
        assert resolve(value, NODE) == "one"


def test_all_that_is_missing_is_told_at_once_and_no_value_is() -> None:
    with pytest.raises(LookupError) as raised:
        resolve_all({"K": "{{ env.X }}", "L": "{{ env.Y }}", "M": "{{ env.A }}"}, NODE)
    assert "K: environment variable X" in str(raised.value)
    assert "L: environment variable Y" in str(raised.value)
    assert "one" not in str(raised.value)


def test_a_local_ray_says_how_it_gets_a_variable() -> None:
    with pytest.raises(LookupError, match="X is not set on this node; set it, then run `lac down`"):
        resolve("{{ env.X }}", {**NODE, LOCAL_RAY: "/private"})


def test_the_variables_that_a_value_refers_to() -> None:
    assert names_in("{{ env.A }}-{{env.B}}-{{ var.C }}") == {"A", "B"}
    assert names_in("plain") == frozenset()
