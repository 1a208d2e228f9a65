"""What PyTorch's arguments mean to lossd. The functions of lossd.functional and lossd.torch end here."""

from __future__ import annotations

import functools
from typing import Any

from lossd._core import Result, Spec
from lossd.client import Client, default_client


def rebuild(kind: type[Spec], loss: str, fields: dict[str, Any]) -> Spec:
    """A spec that was pickled."""
    return Spec(loss, **fields) if kind is Spec else kind(**fields)


def is_floating(array: Any) -> bool:
    """Whether an array of any framework has elements that are floating numbers."""
    return "float" in str(array.dtype)


def has_elements(kind: type[Spec], predictions: Any, targets: Any) -> bool:
    """Whether the targets are one for each element, and not labels."""
    if targets is None or not takes_labels(kind):
        return True
    return is_floating(targets) and tuple(targets.shape) == tuple(predictions.shape)


@functools.cache
def takes_labels(kind: type[Spec]) -> bool:
    """Whether a loss is one over classes."""
    return "class_indices" in kind().tensors


@functools.lru_cache(maxsize=1024)
def _spec(kind: type[Spec], options: tuple[tuple[str, Any], ...]) -> Spec:
    return kind(**dict(options))


def spec_of(
    kind: type[Spec],
    options: dict[str, Any],
    *,
    labels: bool,
    weighted: bool,
    reduction: str,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    denominator: float | None = None,
) -> Spec:
    """The spec with PyTorch's meanings.

    labels: the targets are class indices. weighted: there are class weights.
    """
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    if reduction == "mean":
        reduction = "weight_sum" if labels else "positions"
    elif reduction == "batchmean":
        reduction = "batch"
    fields["reduction"] = reduction
    fields["all_ignored_policy"] = "nan"
    if labels:
        fields["ignore_labels"] = (ignore_index,)
    if denominator is not None:
        fields["denominator"] = denominator
    if label_smoothing != 0:
        fields["label_smoothing"] = label_smoothing
    if weighted:
        fields["weight_normalization"] = "none"
    try:
        return _spec(kind, tuple(fields.items()))
    except TypeError:  # an option that does not hash
        return kind(**fields)


def compute(
    kind: type[Spec],
    predictions: Any,
    targets: Any,
    options: dict[str, Any],
    tensors: dict[str, Any],
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    gradient: bool = True,
    out: Any = None,
    client: Client | None = None,
) -> Result:
    """Computes a loss with PyTorch's meanings."""
    labels = not has_elements(kind, predictions, targets)
    over_classes = takes_labels(kind)
    spec = spec_of(
        kind,
        options,
        labels=labels,
        weighted=over_classes and weight is not None,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    if weight is not None:
        tensors["class_weights" if over_classes else "position_weights"] = weight
    client = client or default_client()
    return client.compute(predictions, targets, spec, gradient=gradient, out=out, **tensors)
