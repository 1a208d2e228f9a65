"""The functions of torch.nn.functional, by lossd; settings: the keywords that lossd.torch lists."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn import _reduction

from lossd import losses
from lossd._core import Spec
from lossd._meaning import has_elements, spec_of
from lossd.client import Client
from lossd.torch._autograd import Call, Settings, is_dense, loss_dtype, run


def loss(
    input: Tensor,
    target: Tensor | None,
    spec: Spec,
    *,
    client: Client | None = None,
    inplace: bool = False,
    **tensors: Tensor,
) -> Tensor:
    """Any loss of lossd's, with its gradient.

    input: the predictions. target: as the loss takes them, or None.
    spec: as lossd.Softmax(reduction="valid").
    tensors: further ones, as class_weights=...; constants to the gradient.

    Returns a tensor without dimensions, or with reduction="none" one for each position.
    """
    settings = Settings(client, inplace)
    call = Call(spec, target, dict(tensors), settings, loss_dtype(input, None))
    return run(input, call)


def _kind(name: str) -> type[Spec]:
    kind = getattr(losses, name, None)
    if kind is None:
        raise NotImplementedError(f"this version of lossd has no loss {name}")
    return kind


def _reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    if reduction not in ("none", "mean", "sum", "batchmean"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _over_weights(reduction: str, weight: Tensor | None) -> str:
    """The mean of weighted elements, which torch divides by the sum of the weights."""
    return "weight_sum" if reduction == "mean" and weight is not None else reduction


def _scaled(spec: dict[str, Any], settings: Settings) -> dict[str, Any]:
    fields = dict(spec)
    if settings.gradient_scale is not None:
        fields["gradient_scale"] = settings.gradient_scale
    return fields


def _classes(
    name: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    settings: Settings,
    options: dict[str, Any],
) -> Tensor:
    """A loss over classes."""
    kind = _kind(name)
    labels = not has_elements(kind, input, target)
    if not labels and ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    if input.dim() == 0:
        raise ValueError(f"{name} needs an input with at least one dimension")
    if not labels and reduction == "mean" and settings.denominator is None:
        if target.numel() == 0:
            return input.sum() * float("nan")
    spec = spec_of(
        kind,
        _scaled(options, settings),
        labels=labels,
        weighted=weight is not None,
        reduction=reduction if settings.denominator is None else "given",
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        denominator=settings.denominator,
    )
    target = _in_the_order_of(input, target, labels)
    tensors = {} if weight is None else {"class_weights": weight}
    call = Call(spec, target, tensors, settings, loss_dtype(input, None if labels else target))
    return run(input, call)


def _in_the_order_of(input: Tensor, target: Tensor, labels: bool) -> Tensor:
    """Targets that lie in memory as the input does; a copy where they do not."""
    if input.is_contiguous():
        return target.contiguous()
    if not is_dense(input):
        return target.contiguous()
    like = input.select(min(1, input.dim() - 1), 0) if labels and target.dim() > 0 else input
    if like.shape != target.shape:
        return target.contiguous()
    order = sorted(range(like.dim()), key=lambda i: -like.stride(i))
    back = [order.index(i) for i in range(like.dim())]
    return target.permute(order).contiguous().permute(back)


def _elements(
    name: str,
    input: Tensor,
    target: Tensor,
    reduction: str,
    settings: Settings,
    options: dict[str, Any],
    weight: Tensor | None = None,
    **tensors: Tensor,
) -> Tensor:
    """A loss over elements."""
    kind = _kind(name)
    dtype = loss_dtype(input, target)
    if input.shape != target.shape:
        input, target = torch.broadcast_tensors(input, target)
    scalar = input.dim() == 0
    if scalar:
        input, target = input.reshape(1), target.reshape(1)
    if not is_dense(input):
        input = input.contiguous()
    if reduction == "mean" and input.numel() == 0:
        return input.sum() * float("nan")
    if weight is not None:
        tensors["position_weights"] = torch.broadcast_to(weight, input.shape)
    spec = spec_of(
        kind,
        _scaled(options, settings),
        labels=False,
        weighted=False,
        reduction=reduction if settings.denominator is None else "given",
        denominator=settings.denominator,
    )
    tensors = {
        key: _in_the_order_of(input, value, False) if value.shape == input.shape else value
        for key, value in tensors.items()
    }
    target = _in_the_order_of(input, target, False)
    value = run(input, Call(spec, target, tensors, settings, dtype))
    return value.reshape(()) if scalar else value


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    client: Client | None = None,
    inplace: bool = False,
    gradient_scale: float | None = None,
    denominator: float | None = None,
) -> Tensor:
    """torch.nn.functional.cross_entropy."""
    settings = Settings(client, inplace, gradient_scale, denominator)
    reduction = _reduction_of(size_average, reduce, reduction)
    return _classes(
        "Softmax", input, target, weight, ignore_index, reduction, label_smoothing, settings, {}
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    client: Client | None = None,
    inplace: bool = False,
    gradient_scale: float | None = None,
    denominator: float | None = None,
) -> Tensor:
    """torch.nn.functional.nll_loss."""
    settings = Settings(client, inplace, gradient_scale, denominator)
    reduction = _reduction_of(size_average, reduce, reduction)
    return _classes("Nll", input, target, weight, ignore_index, reduction, 0.0, settings, {})


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.mse_loss; settings: as of this module."""
    reduction = _over_weights(_reduction_of(size_average, reduce, reduction), weight)
    return _elements(
        "SquaredError", input, target, reduction, Settings(**settings), {}, weight
    )


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.l1_loss; settings: as of this module."""
    reduction = _over_weights(_reduction_of(size_average, reduce, reduction), weight)
    return _elements(
        "AbsoluteError", input, target, reduction, Settings(**settings), {}, weight
    )


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.huber_loss; settings: as of this module."""
    reduction = _over_weights(_reduction_of(None, None, reduction), weight)
    options = {"delta": float(delta)}
    return _elements("Huber", input, target, reduction, Settings(**settings), options, weight)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.smooth_l1_loss; settings: as of this module."""
    reduction = _reduction_of(size_average, reduce, reduction)
    options = {"beta": float(beta)}
    return _elements("SmoothL1", input, target, reduction, Settings(**settings), options)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.binary_cross_entropy_with_logits; settings: as of this module.

    pos_weight: as many as the last dimension has, or one.
    """
    if target.shape != input.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    reduction = _reduction_of(size_average, reduce, reduction)
    tensors, options = {}, {}
    if pos_weight is not None:
        tensors["pos_weight"] = pos_weight.reshape(-1)
        options["class_axis"] = -1
    return _elements(
        "BinaryCrossEntropy",
        input,
        target,
        reduction,
        Settings(**settings),
        options,
        weight,
        **tensors,
    )


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.poisson_nll_loss; settings: as of this module."""
    reduction = _reduction_of(size_average, reduce, reduction)
    options = {"log_input": log_input, "full": full, "epsilon": float(eps)}
    return _elements("PoissonNll", input, target, reduction, Settings(**settings), options)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.gaussian_nll_loss; settings: as of this module.

    var: of the input's shape, or without its last dimension, or with 1 in its place, or a number.
    """
    if not isinstance(var, Tensor):
        var = torch.full_like(input, var)
    if var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    if bool((var.detach() < 0).any()):
        raise ValueError("var has negative entry/entries")
    options = {"full": full, "epsilon": float(eps)}
    reduction = _reduction_of(None, None, reduction)
    var = var.expand(input.shape).contiguous()
    return _elements(
        "GaussianNll",
        input,
        target,
        reduction,
        Settings(**settings),
        options,
        second_predictions=var,
    )


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.kl_div; settings: as of this module.

    A row has one value here, so there is no reduction="none".
    """
    reduction = _reduction_of(size_average, reduce, reduction)
    if reduction == "none":
        raise NotImplementedError("kl_div has one value for each row here; wanted another reduction")
    settled = Settings(**settings)
    if reduction == "mean" and settled.denominator is None:
        # Over all elements, as torch has it.
        elements = torch.broadcast_shapes(input.shape, target.shape).numel()
        settled = dataclasses.replace(settled, denominator=float(elements))
    options = {"log_targets": log_target}
    return _elements("KlDivergence", input, target, reduction, settled, options)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    **settings: Any,
) -> Tensor:
    """torch.nn.functional.multi_margin_loss; settings: as of this module."""
    reduction = _reduction_of(size_average, reduce, reduction)
    options = {"power": int(p), "margin": float(margin)}
    if reduction == "mean":
        reduction = "positions"
    return _classes(
        "MultiMargin", input, target, weight, -100, reduction, 0.0, Settings(**settings), options
    )
