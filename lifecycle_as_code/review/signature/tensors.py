"""Tensors as inputs: whether every array and DataFrame that fits one fits another. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from .columns import Tensor, Type
from .findings import Finding, report_type


def tensor_findings(label: str, before: Tensor, after: Tensor, frames: bool) -> Iterator[Finding]:
    """The findings for a caller of `before`. `frames`: a DataFrame fits the schema before."""
    if before == after:
        return
    finding = report_type(label, before, after, breaks=not _takes_arrays(before, after))
    if frames and not finding.breaks and not _same_rows(before, after):
        finding = Finding(f"{finding.text}: a DataFrame is refused", breaks=True)
    yield finding


def from_frames(type_: Type) -> bool:
    """Whether a DataFrame fits (`_reshape_and_cast_pandas_column_values`): only the rows' number is free."""
    return isinstance(type_, Tensor) and type_.shape[:1] == (-1,) and -1 not in type_.shape[1:]


def only_array(type_: Type) -> bool:
    """Whether only a NumPy array fits: no DataFrame, and no sparse matrix of numbers in two dimensions."""
    return (
        isinstance(type_, Tensor)
        and not from_frames(type_)
        and (len(type_.shape) != 2 or type_.dtype in ("object", "str", "bytes"))
    )


def _takes_arrays(before: Tensor, after: Tensor) -> bool:
    """`_enforce_tensor_spec`, over all arrays that `before` takes."""
    if _is_anything(after):
        return True
    if _is_anything(before):
        return False
    if before.dtype == "object" and len(before.shape) == 1 and -1 in after.shape[1:]:
        return True  # it passes for a ragged array
    return fits(before, after)


def fits(inner: Tensor, outer: Tensor) -> bool:
    """Whether each array of `inner` is one of `outer`."""
    return (
        inner.dtype == outer.dtype
        and len(inner.shape) == len(outer.shape)
        and all(n in (-1, m) for m, n in zip(inner.shape, outer.shape, strict=True))
    )


def _is_anything(tensor: Tensor) -> bool:
    return tensor.dtype == "object" and tensor.shape == (-1,)


def _same_rows(before: Tensor, after: Tensor) -> bool:
    """Whether a DataFrame's rows are reshaped alike. (-1, 4) as (-1, -1) isn't."""
    return before.shape == after.shape or (after.shape == (-1,) and prod(before.shape[1:]) == 1)
