"""A model that an endpoint serves, on paper, for tests of the engine."""

from __future__ import annotations

from contextlib import suppress

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.spec import Address, Spec
from support.bench import Bench, converge
from support.fake_cluster import Killed, Paper

ENDPOINT = Address("serving_endpoint", ("fraud",))


def served_fraud(champion: int, **options: str) -> list[Spec]:
    """Version 3 can't be loaded."""
    here = ServedEntity(name="champion", entity_name="fraud", entity_version="@champion")
    return [
        RegisteredModel(name="fraud"),
        *(
            ModelVersion(model="fraud", version=n, source=source)
            for n, source in enumerate(["/good/1", "/good/2", "/bad/3"], 1)
        ),
        ModelAlias(model="fraud", alias="champion", version=champion),
        ServingEndpoint.model_validate(
            {"name": "fraud", "served_entities": (here,), "auth": "none", **options}
        ),
    ]


def killed_after(paper: Paper, steps: int, bench: Bench, specs: list[Spec]) -> None:
    paper.left = steps
    with suppress(Killed):
        converge(bench.stack(specs))
    paper.left = None
