"""Tensors as inputs: whether every array and DataFrame that fits one fits another. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..columns import Tensor, Type
from .findings import Finding, retyped


def tensor_findings(label: str, before: Tensor, after: Tensor) -> Iterator[Finding]:
    """What a caller of `before` meets."""
    if before == after:
        return
    finding = retyped(label, before, after, breaks=not _takes_arrays(before, after))
    if not finding.breaks and _from_frames(before) and not _same_rows(before, after):
        finding = Finding(f"{finding.text}: a DataFrame is refused", breaks=True)
    yield finding


def only_array(type_: Type) -> bool:
    """Whether only an array fits: no DataFrame, and no sparse matrix, which has two dimensions."""
    return isinstance(type_, Tensor) and not _from_frames(type_) and len(type_.shape) != 2


def _takes_arrays(before: Tensor, after: Tensor) -> bool:
    """`_enforce_tensor_spec`, over all arrays that `before` takes."""
    if _is_anything(after):
        return True
    if _is_anything(before):
        return False
    if before.dtype == "object" and len(before.shape) == 1 and -1 in after.shape[1:]:
        return True  # it passes for a ragged array
    return (
        before.dtype == after.dtype
        and len(before.shape) == len(after.shape)
        and all(n in (-1, m) for m, n in zip(before.shape, after.shape, strict=True))
    )


def _is_anything(tensor: Tensor) -> bool:
    return tensor.dtype == "object" and tensor.shape == (-1,)


def _from_frames(tensor: Tensor) -> bool:
    """Whether a DataFrame fits (`_reshape_and_cast_pandas_column_values`): any number of rows, all else
    fixed."""
    return tensor.shape[:1] == (-1,) and -1 not in tensor.shape[1:]


def _same_rows(before: Tensor, after: Tensor) -> bool:
    """Whether a DataFrame's rows are reshaped alike. (-1, 4) as (-1, -1) isn't."""
    return before.shape == after.shape or (after.shape == (-1,) and prod(before.shape[1:]) == 1)
