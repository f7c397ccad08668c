"""Secret references: resolved on the node, never told in an error."""

import asyncio
from pathlib import Path

import pytest

from lifecycle_as_code.serving.references import (
    LOCAL_RAY,
    Secrets,
    Sources,
    is_reference,
    names_in,
    resolve,
    resolve_all,
)

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
        ("{{secrets/openai}}", False),
        ("{{secrets/openai/../key}}", False),
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


class TestSecrets:
    """`{{secrets/scope/key}}`, from the sources that lac.yaml names."""

    def test_come_from_a_variable_a_file_or_a_command(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("from the file\n")
        sources: Sources = {
            "a/env": {"env": "A"},
            "a/file": {"file": str(tmp_path / "key")},
            "a/command": {"command": ["printf", "from the command"]},
        }
        assert resolve("{{secrets/a/env}}", NODE, sources) == "one"
        assert resolve("{{ secrets/a/file }}", NODE, sources) == "from the file"
        assert resolve("x {{secrets/a/command}}", NODE, sources) == "x from the command"

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (None, "secret s/k has no source in lac.yaml"),
            ({"env": "X"}, "secret s/k: environment variable X is not set on this node"),
            ({"file": "/nowhere/key"}, "file /nowhere/key can't be read: No such file or directory"),
            ({"file": "/dev/null"}, "secret s/k: /dev/null is not a regular file"),
            ({"command": ["true"]}, "secret s/k is empty on this node"),
            ({"command": ["sh", "-c", "echo canary; echo canary >&2; exit 3"]}, "`sh` exited with 3"),
            ({"command": ["/nowhere/vault"]}, "`/nowhere/vault` can't be run: No such file or directory"),
        ],
        ids=["no source", "no variable", "no file", "a device", "empty", "failing command", "no command"],
    )
    def test_that_are_missing_are_told_without_a_value(
        self, source: dict[str, object] | None, message: str
    ) -> None:
        with pytest.raises(LookupError) as raised:
            resolve("{{secrets/s/k}}", NODE, {"s/k": source} if source else {})
        assert message in str(raised.value)
        assert "canary" not in str(raised.value)

    def test_in_a_file_that_everyone_may_write_are_refused(self, tmp_path: Path) -> None:
        key = tmp_path / "key"
        key.write_text("canary")
        key.chmod(0o666)
        with pytest.raises(LookupError, match="may be written by everyone"):
            resolve("{{secrets/s/k}}", NODE, {"s/k": {"file": str(key)}})

    def test_that_rotate_are_read_anew_after_a_minute_or_once_forgotten(self, tmp_path: Path) -> None:
        key, now = tmp_path / "key", [0.0]
        secrets = Secrets({"s/k": {"file": str(key)}}, NODE, lambda: now[0])

        async def read() -> str:
            return await secrets.resolve("Bearer {{secrets/s/k}}")

        async def play() -> list[str]:
            results = []
            for value, later, forget in (("1", 0, False), ("2", 59, False), ("3", 2, False), ("4", 0, True)):
                key.write_text(value)
                now[0] += later
                if forget:
                    secrets.forget()
                results.append(await read())
            return results

        assert asyncio.run(play()) == ["Bearer 1", "Bearer 1", "Bearer 3", "Bearer 4"]
        assert "4" not in repr(secrets)

    def test_are_read_once_for_all_that_wait(self, tmp_path: Path) -> None:
        count = tmp_path / "count"
        command = ["sh", "-c", f"echo x >> {count}; sleep 0.2; echo value"]
        secrets = Secrets({"s/k": {"command": command}}, NODE)

        async def play() -> list[str]:
            waits = [asyncio.create_task(secrets.resolve("{{secrets/s/k}}")) for _ in range(3)]
            await asyncio.sleep(0.05)
            waits.pop().cancel()
            return list(await asyncio.gather(*waits))

        assert asyncio.run(play()) == ["value", "value"]
        assert count.read_text() == "x\n"
