"""What people are told of a changed signature. That the class is right, MLflow itself says: integration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifecycle_as_code.model.signature import Signature, SignatureChange, SignatureClass
from lifecycle_as_code.review.signature.columns import MAX_DEPTH, MalformedError
from lifecycle_as_code.review.signature.comparison import MAX_FINDINGS, compare_signatures
from lifecycle_as_code.review.signature.reader import parse_signature

SAME, COMPATIBLE, BREAKING = SignatureClass.SAME, SignatureClass.COMPATIBLE, SignatureClass.BREAKING


def col(name: Any, type_: str = "double", required: bool = True, **more: Any) -> dict[str, Any]:
    """A column as MLmodel holds it."""
    return {"type": type_, **({} if name is None else {"name": name}), "required": required, **more}


def obj(name: str | None = None, required: bool = True, **properties: dict[str, Any]) -> dict[str, Any]:
    """A column that holds objects."""
    return col(name, "object", required, properties=properties)


def arr(name: str, items: dict[str, Any], required: bool = True) -> dict[str, Any]:
    """A column that holds arrays."""
    return col(name, "array", required, items=items)


def ten(*shape: int, name: str | None = None, dtype: str = "float64") -> dict[str, Any]:
    """A tensor."""
    named = {} if name is None else {"name": name}
    return {**named, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}


def par(
    name: str = "k", type_: str = "long", default: Any = 1, shape: list[int] | None = None
) -> dict[str, Any]:
    """A parameter."""
    return {"name": name, "type": type_, "default": default, "shape": shape}


def change(before: Signature | None, after: Signature | None) -> SignatureChange:
    """Between two versions that are there."""
    return compare_signatures(before, after, was_there=True, will_be_there=True)


Part = list[dict[str, Any]] | None


def changed(part: str, before: Part, after: Part) -> SignatureChange:
    """With one part of the signature given."""
    return change(*(Signature(**{part: side and tuple(side)}) for side in (before, after)))


AGE = col("age")
INPUTS: dict[str, tuple[Part, Part, SignatureClass, list[str]]] = {
    "nothing": ([AGE], [AGE], SAME, []),
    "the order of columns with names": ([AGE, col("zip")], [col("zip"), AGE], SAME, []),
    "a column went": (
        [AGE, col("zip", "long")],
        [col("zip", "long")],
        BREAKING,
        ['input "age" (double) is gone: MLflow drops it'],
    ),
    "all columns went": (
        [AGE],
        [col("zip", "long", False)],
        BREAKING,
        [
            'input "age" (double) is gone: MLflow drops it',
            'optional input "zip" (long) was added',
        ],
    ),
    "a required column": ([AGE], [AGE, col("x")], BREAKING, ['required input "x" (double) was added']),
    "an optional column": (
        [AGE],
        [AGE, col("x", "long", False)],
        COMPATIBLE,
        ['optional input "x" (long) was added'],
    ),
    "required now": ([col("age", required=False)], [AGE], BREAKING, ['input "age" is now required']),
    "optional now": ([AGE], [col("age", required=False)], COMPATIBLE, ['input "age" is now optional']),
    "another type": (
        [col("zip", "long")],
        [col("zip", "string")],
        BREAKING,
        ['input "zip" changed from long to string'],
    ),
    "a wider type": (
        [col("n", "integer")],
        [col("n", "long")],
        COMPATIBLE,
        ['input "n" changed from integer to long'],
    ),
    "long to double, which loses digits": (
        [col("n", "long")],
        [col("n", "double")],
        BREAKING,
        ['input "n" changed from long to double'],
    ),
    "any type now": ([AGE], [col("age", "any")], COMPATIBLE, ['input "age" changed from double to any']),
    "deep inside": (
        [arr("rows", obj(a=col(None, "long"), b=col(None, "string")))],
        [arr("rows", obj(a=col(None, "integer"), c=col(None, "string", False)))],
        BREAKING,
        [
            'input "rows[].a" changed from long to integer',
            'input "rows[].b" (string) is gone',
            'optional input "rows[].c" (string) was added',
        ],
    ),
    "a value of a map": (
        [col("m", "map", values={"type": "float"})],
        [col("m", "map", values={"type": "double"})],
        COMPATIBLE,
        ['input "m[*]" changed from float to double'],
    ),
    "an object as a map": (
        [obj("o", a=col(None, "long")), obj("p", a=col(None, "long"))],
        [obj("o", a=col(None, "long")), col("p", "map", values={"type": "long"})],
        COMPATIBLE,
        ['input "p" changed from object to map of long'],
    ),
    "Spark's vector, which is enforced as an array": (
        [col("v", "sparkml_vector")],
        [arr("v", {"type": "double"})],
        COMPATIBLE,
        ['input "v" changed from sparkml_vector to array of double'],
    ),
    "the first array": (
        [AGE],
        [AGE, arr("n", {"type": "long"}, required=False)],
        BREAKING,
        [
            "a dict is now one record instead of columns: an input is an array or object",
            'optional input "n" (array of long) was added',
        ],
    ),
    "by position": (
        [col(None, "long"), col(None, "string")],
        [col(None, "string"), col(None, "long")],
        BREAKING,
        ["input 0 changed from long to string", "input 1 changed from string to long"],
    ),
    "one more by position": (
        [col(None)],
        [col(None), col(None)],
        BREAKING,
        ["required input 1 (double) was added"],
    ),
    "the last one by position": (
        [col(None), col(None)],
        [col(None)],
        BREAKING,
        ["input 1 (double) is gone: MLflow drops it"],
    ),
    "no names any more": (
        [AGE, col("zip")],
        [col(None), col(None)],
        BREAKING,
        ["inputs changed from named columns to unnamed columns"],
    ),
    "no name any more": ([AGE], [col(None)], COMPATIBLE, ['input "age" is now identified by its position']),
    "tensors now": (
        [AGE],
        [ten(-1, name="age")],
        BREAKING,
        ["inputs changed from named columns to named tensors"],
    ),
    "a tensor's dtype": (
        [ten(-1, 4)],
        [ten(-1, 4, dtype="float32")],
        BREAKING,
        ["the input changed from float64 tensor (-1, 4) to float32 tensor (-1, 4)"],
    ),
    "a tensor's width": (
        [ten(-1, 4, name="x")],
        [ten(-1, 3, name="x")],
        BREAKING,
        ['input "x" changed from float64 tensor (-1, 4) to float64 tensor (-1, 3)'],
    ),
    "any width, which no DataFrame has": (
        [ten(-1, 4)],
        [ten(-1, -1)],
        BREAKING,
        ["the input changed from float64 tensor (-1, 4) to float64 tensor (-1, -1): a DataFrame is refused"],
    ),
    "any height": (
        [ten(2, 4)],
        [ten(-1, 4)],
        COMPATIBLE,
        ["the input changed from float64 tensor (2, 4) to float64 tensor (-1, 4)"],
    ),
    "no schema, which takes anything": (
        None,
        [AGE],
        BREAKING,
        ["inputs are now checked, and were not before"],
    ),
    "no schema any more": ([AGE], None, COMPATIBLE, ["inputs are no longer checked"]),
}

PARAMS: dict[str, tuple[Part, Part, SignatureClass, list[str]]] = {
    "went": ([par()], None, BREAKING, ['parameter "k" (long) is gone: MLflow drops it']),
    "added": (None, [par()], COMPATIBLE, ['parameter "k" (long) was added']),
    "another type": (
        [par()],
        [par(type_="string", default="1")],
        BREAKING,
        ['parameter "k" changed from long to string', 'parameter "k" now has the default "1" instead of 1'],
    ),
    "a wider type": (
        [par()],
        [par(type_="double")],
        COMPATIBLE,
        ['parameter "k" changed from long to double'],
    ),
    "another default": (
        [par()],
        [par(default=2)],
        COMPATIBLE,
        ['parameter "k" now has the default 2 instead of 1'],
    ),
    "a list": (
        [par()],
        [par(default=[1], shape=[-1])],
        BREAKING,
        [
            'parameter "k" changed from long to list of long',
            'parameter "k" now has the default [1] instead of 1',
        ],
    ),
    "an object's property": (
        [{"name": "k", "default": {}, **obj(a=col(None, "long"))}],
        [{"name": "k", "default": {}, **obj(b=col(None, "long", False))}],
        BREAKING,
        ['parameter "k.a" (long) is gone', 'optional parameter "k.b" (long) was added'],
    ),
}

OUTPUTS: dict[str, tuple[Part, Part, SignatureClass, list[str]]] = {
    "nothing": ([AGE], [AGE], SAME, []),
    "went": ([AGE, col("p")], [AGE], BREAKING, ['output "p" (double) is gone']),
    "added": ([AGE], [AGE, col("p")], COMPATIBLE, ['output "p" (double) was added']),
    "another type": ([AGE], [col("age", "long")], BREAKING, ['output "age" changed from double to long']),
    "a wider type, which a reader may not hold": (
        [col("n", "integer")],
        [col("n", "long")],
        BREAKING,
        ['output "n" changed from integer to long'],
    ),
    "one type of any": (
        [col("n", "any")],
        [col("n", "long")],
        COMPATIBLE,
        ['output "n" changed from any to long'],
    ),
    "optional now": ([AGE], [col("age", required=False)], BREAKING, ['output "age" may now be missing']),
    "required now": ([col("age", required=False)], [AGE], COMPATIBLE, ['output "age" is now always present']),
    "another order": ([AGE, col("p")], [col("p"), AGE], COMPATIBLE, ["outputs are in another order"]),
    "by position": ([col(None)], [col(None, "long")], BREAKING, ["output 0 changed from double to long"]),
    "deep inside": (
        [arr("r", obj(a=col(None, "long"), b=col(None)))],
        [arr("r", obj(a=col(None, "long", False), c=col(None)))],
        BREAKING,
        [
            'output "r[].a" may now be missing',
            'output "r[].b" (double) is gone',
            'output "r[].c" (double) was added',
        ],
    ),
    "in a map": (
        [col("m", "map", values={"type": "any"})],
        [col("m", "map", values={"type": "long"})],
        COMPATIBLE,
        ['output "m[*]" changed from any to long'],
    ),
    "a tensor's dtype": (
        [ten(-1, dtype="int64")],
        [ten(-1)],
        BREAKING,
        ["the output changed from int64 tensor (-1,) to float64 tensor (-1,)"],
    ),
    "a tensor's dimensions": (
        [ten(-1, 3)],
        [ten(-1, 3, 1)],
        BREAKING,
        ["the output changed from float64 tensor (-1, 3) to float64 tensor (-1, 3, 1)"],
    ),
    "a tensor's width, said now": (
        [ten(-1, -1)],
        [ten(-1, 3)],
        COMPATIBLE,
        ["the output changed from float64 tensor (-1, -1) to float64 tensor (-1, 3)"],
    ),
    "columns": ([ten(-1)], [col(None)], BREAKING, ["outputs changed from unnamed tensor to unnamed columns"]),
    "declared now": (None, [AGE], COMPATIBLE, ["outputs are now declared"]),
    "not declared any more": ([AGE], None, BREAKING, ["outputs are no longer declared"]),
}

CASES = [
    pytest.param(part, *case, id=f"{part}: {name}")
    for part, cases in (("inputs", INPUTS), ("params", PARAMS), ("outputs", OUTPUTS))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("part", "before", "after", "verdict", "findings"), CASES)
def test_each_difference_is_told_in_a_sentence(
    part: str, before: Part, after: Part, verdict: SignatureClass, findings: list[str]
) -> None:
    told = changed(part, before, after)
    assert (told.verdict, list(told.findings)) == (verdict, findings)
    assert set(told.breaking) <= set(told.findings)
    assert bool(told.breaking) is (verdict is BREAKING)


def test_only_what_breaks_is_among_the_breaking() -> None:
    told = changed("inputs", [col("zip", "long")], [col("zip", "string"), col("x", required=False)])
    assert told.breaking == ('input "zip" changed from long to string',)
    assert len(told.findings) == 2


def test_what_breaks_is_told_before_all_else() -> None:
    before = Signature((AGE,), (AGE,), (par(),))
    after = Signature((col("age", "any"),), (col("age", "long"),), (par(default=2),))
    assert change(before, after).findings == (
        'output "age" changed from double to long',
        'input "age" changed from double to any',
        'parameter "k" now has the default 2 instead of 1',
    )


@pytest.mark.parametrize(
    ("before", "after", "was_there", "will_be_there", "verdict"),
    [
        (None, Signature(), False, True, SignatureClass.NONE),
        (Signature(), None, True, False, SignatureClass.NONE),
        (None, Signature(), True, True, SignatureClass.UNKNOWN),
        (Signature(), None, True, True, SignatureClass.UNKNOWN),
        (Signature(), Signature(), True, True, SAME),
    ],
    ids=["a creation", "a removal", "none before", "none after", "two that say nothing"],
)
def test_where_a_side_is_missing_nothing_is_claimed(
    before: Signature | None,
    after: Signature | None,
    was_there: bool,
    will_be_there: bool,
    verdict: SignatureClass,
) -> None:
    told = compare_signatures(before, after, was_there=was_there, will_be_there=will_be_there)
    assert told == SignatureChange(verdict)


def test_a_signature_that_makes_no_sense_is_unknown_and_says_why() -> None:
    told = change(Signature(inputs=({"name": "a"},)), Signature(inputs=(AGE,)))
    assert told == SignatureChange(
        SignatureClass.UNKNOWN, ("a signature can't be compared: column 0 has no type",)
    )


def test_a_wide_table_is_told_by_its_first_columns() -> None:
    columns = [col(f"c{n}", "long") for n in range(10_000)]
    told = changed("inputs", columns, [{**column, "type": "string"} for column in columns])
    assert len(told.findings) == len(told.breaking) == MAX_FINDINGS
    assert told.findings[-1] == "and 9,901 more"


def test_long_names_are_cut_and_the_end_of_a_long_way_is_kept() -> None:
    inner: dict[str, Any] = {"type": "long"}
    for _ in range(20):
        inner = obj(**{"n" * 1_000: {**inner, "required": True}})
    before, after = ([obj("o", way=inner, end=end)] for end in (col(None), col(None, "string")))
    assert changed("inputs", before, after).findings == ('input "o.end" changed from double to string',)
    deeper = json.loads(json.dumps(before).replace('"long"', '"string"'))
    (finding,) = changed("inputs", before, deeper).findings
    assert finding.endswith('nnn…" changed from long to string')
    assert len(finding) < 300


MLMODEL: dict[str, Any] = {
    "inputs": json.dumps([col("age"), arr("xs", {"type": "long"}), obj("o", p=col(None, "string", False))]),
    "outputs": json.dumps([ten(-1, 3)]),
    "params": json.dumps([par()]),
}


def test_mlmodels_block_is_read_as_it_stands() -> None:
    read = parse_signature(MLMODEL)
    assert read.inputs is not None
    assert [column["name"] for column in read.inputs] == ["age", "xs", "o"]
    assert read.outputs == (ten(-1, 3),)
    assert read.params == (par(),)


@pytest.mark.parametrize("data", [{}, {"inputs": None, "outputs": ""}], ids=["no part", "empty parts"])
def test_parts_that_are_not_said_are_none(data: dict[str, Any]) -> None:
    assert parse_signature(data) == Signature()


def test_what_earlier_releases_wrote_means_the_same() -> None:
    old = Signature(inputs=({"name": "a", "type": "long", "optional": True}, {"name": "b", "type": "long"}))
    assert change(old, Signature(inputs=(col("a", "long", False), col("b", "long")))).verdict is SAME
    # what isn't said of a nested type is no
    nested = {"type": "array", "items": {"type": "long"}}
    unsaid, optional = ({"name": "a", **nested},), (arr("a", {"type": "long"}, required=False),)
    assert change(Signature(inputs=unsaid), Signature(inputs=optional)).verdict is SAME
    assert (
        change(Signature(inputs=(nested,)), Signature(inputs=({**nested, "required": True},))).verdict is SAME
    )
    dtype = Signature(params=({"name": "k", "dtype": "long", "default": 1, "shape": None},))
    assert change(dtype, Signature(params=(par(),))).verdict is SAME


LABELS = {
    "numbers": ([0, 1, 2], "input 2"),
    "a number beyond all columns": ([0, 17], "input 17"),
    "fractions": ([0.5, -1.5], "input -1.5"),
    "infinity": ([0.5, float("inf")], "input inf"),
    "booleans": ([False, True], "input True"),
    "NaN": (["a", float("nan")], "input nan"),
    "tuples": ([["a", 1], ["b", None], ["b", float("nan")]], "input ('b', nan)"),
    "of several kinds": ([True, "b", 0.5, ["a", "b"], 2], "input 2"),
}
"""Labels as pandas' columns may have them and JSON holds them, and what the last one is called."""


@pytest.mark.parametrize(("labels", "last"), LABELS.values(), ids=LABELS.keys())
def test_columns_may_have_any_label_that_json_holds(labels: list[Any], last: str) -> None:
    whole, short = (
        parse_signature({part: json.dumps([col(label) for label in side]) for part in ("inputs", "outputs")})
        for side in (labels, labels[:-1])
    )
    again = parse_signature({part: json.dumps([*getattr(whole, part)]) for part in ("inputs", "outputs")})
    assert change(whole, again) == SignatureChange(SAME)
    went = change(whole, short)
    assert went.verdict is BREAKING
    assert went.findings == (
        f"{last} (double) is gone: MLflow drops it",
        f"{last.replace('input', 'output')} (double) is gone",
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict", "findings"),
    [
        pytest.param([1, 2], [1.0, 2.0], SAME, (), id="one number written in two ways"),
        pytest.param(
            [1, "b"],
            [True, "b"],
            BREAKING,
            ("input 1 (double) is gone: MLflow drops it", "required input True (double) was added"),
            id="no number but a boolean",
        ),
        pytest.param(
            [0, 1],
            [1, 0],
            BREAKING,
            ("input 0 can't be looked up: MLflow looks for 1, its position",),
            id="0 isn't the first",
        ),
        pytest.param([2, 0], [2, 0], SAME, (), id="0 wasn't the first before either"),
        pytest.param(
            ["a", "b"],
            ["a", "b", ["c", 1]],
            BREAKING,
            (
                "required input ('c', 1) (double) was added",
                "input ('c', 1) can't be looked up: MLflow reads its name as a list",
            ),
            id="a tuple came",
        ),
    ],
)
def test_labels_are_the_same_where_mlflow_finds_one_by_the_other(
    before: list[Any], after: list[Any], verdict: SignatureClass, findings: tuple[str, ...]
) -> None:
    found = changed("inputs", [col(label) for label in before], [col(label) for label in after])
    assert (found.verdict, found.findings) == (verdict, findings)


def test_a_column_given_twice_counts_once_and_is_required_if_either_is() -> None:
    twice = [col("a"), col("a", "long", required=False)]
    assert changed("inputs", [col("a", "long")], twice).verdict is SAME
    assert changed("inputs", [col("a", "long", required=False)], twice).verdict is BREAKING


def deep(levels: int) -> str:
    """An array of arrays of …, as JSON."""
    return '[{"type": ' + '"array", "items": {"type": ' * levels + '"long"' + "}" * levels + "}]"


BAD: dict[str, tuple[Any, str]] = {
    "no text": ({"inputs": [AGE]}, "its inputs aren't text"),
    "no JSON": ({"inputs": "[{"}, "its inputs aren't valid JSON"),
    "no list": ({"params": "{}"}, "its params aren't a list"),
    "a key given twice": ({"inputs": '[{"type": "long", "type": "string"}]'}, "it has a duplicate key"),
    "a number of a million digits": ({"inputs": "[" + "9" * 1_000_000 + "]"}, "its inputs aren't valid JSON"),
    "a million brackets": ({"inputs": "[" * 1_000_000}, "its inputs are nested too deeply"),
    "a deep value that nothing reads": (
        {"inputs": '[{"type": "long", "more": ' + "[" * 200 + "]" * 200 + "}]"},
        "its inputs are nested too deeply",
    ),
    "too deep a type": ({"inputs": deep(MAX_DEPTH + 1)}, "more than 32 levels"),
    "no columns": ({"outputs": "[]"}, "its outputs can't be read: it has no columns"),
    "a column that is none": ({"inputs": "[1]"}, "column 0 is not a mapping"),
    "a name that is none": (
        {"inputs": '[{"type": "long", "name": {}}]'},
        "the name of column 0 is not a label",
    ),
    "a name of too many levels": (
        {"inputs": f'[{{"type": "long", "name": {"[" * 40 + "]" * 40}}}]'},
        "the name of column 0 is not a label",
    ),
    "no type": ({"inputs": '[{"name": "a"}]'}, "column 0 has no type"),
    "a type that is none": ({"inputs": '[{"name": "a", "type": ["long"]}]'}, "column 0 has no type"),
    "an array of nothing": ({"inputs": '[{"type": "array"}]'}, "the items of column 0 is not a mapping"),
    "an object of nothing": ({"inputs": json.dumps([obj()])}, "column 0 is an object without properties"),
    "some names": ({"inputs": json.dumps([col("a"), col(None)])}, "only some of its columns have names"),
    "an optional one without a name": (
        {"inputs": json.dumps([col(None, required=False)])},
        "without a name is opt",
    ),
    "columns and tensors": (
        {"inputs": json.dumps([col("a"), ten(1, name="b")])},
        "it mixes columns and tensors",
    ),
    "two tensors without names": (
        {"inputs": json.dumps([ten(1), ten(1)])},
        "it has several tensors without names",
    ),
    "a tensor of nothing": (
        {"inputs": '[{"type": "tensor"}]'},
        "the tensor-spec of column 0 is not a mapping",
    ),
    "a tensor without a dtype": ({"inputs": json.dumps([ten(1, dtype="x" * 101)])}, "column 0 has no dtype"),
    "a tensor without a shape": ({"inputs": json.dumps([ten(-2)])}, "column 0 has no shape"),
    "a shape of truths": ({"inputs": json.dumps([ten(True)])}, "column 0 has no shape"),
    "a parameter without a name": ({"params": '[{"type": "long", "default": 1}]'}, "parameter 0 has no name"),
    "a parameter without a default": (
        {"params": '[{"name": "k", "type": "long"}]'},
        "parameter 0 has no default",
    ),
    "a parameter with a shape": ({"params": json.dumps([par(shape=[2])])}, "neither one value nor a list"),
    "a parameter that is an array": (
        {"params": json.dumps([{**arr("k", {"type": "long"}), "default": []}])},
        "parameter 0 is neither a value nor an object",
    ),
    "a parameter twice": ({"params": json.dumps([par(), par()])}, "it has a duplicate parameter"),
}


@pytest.mark.parametrize(("data", "why"), BAD.values(), ids=BAD.keys())
def test_what_mlflow_could_not_read_is_refused_with_its_reason(data: dict[str, Any], why: str) -> None:
    with pytest.raises(MalformedError, match=why.replace("[", r"\[")):
        parse_signature(data)


def test_the_deepest_type_that_is_read_is_compared() -> None:
    before, after = (
        parse_signature({"inputs": text}) for text in (deep(32), deep(32).replace("long", "any"))
    )
    assert change(before, after).verdict is COMPATIBLE


def test_a_signature_with_a_number_that_json_lacks_can_be_saved_and_read_again() -> None:
    inputs = '[{"type": "double", "name": NaN}, {"type": "double", "name": ["a", -Infinity]}]'
    params = '[{"type": "double", "name": "limit", "default": Infinity, "shape": null}]'
    both = {"was_there": True, "will_be_there": True}
    signature = parse_signature({"inputs": inputs, "params": params})
    assert "NaN" not in json.dumps([signature.inputs, signature.params], allow_nan=False)
    assert compare_signatures(signature, signature, **both).verdict is SignatureClass.SAME
    less = parse_signature({"inputs": '[{"type": "double", "name": ["a", -1e999]}]', "params": params})
    assert compare_signatures(signature, less, **both).breaking == (
        "input nan (double) is gone: MLflow drops it",
    )
    changed = parse_signature({"inputs": inputs, "params": params.replace("Infinity", "1.0")})
    assert compare_signatures(signature, changed, **both).findings == (
        'parameter "limit" now has the default 1.0 instead of Infinity',
    )
