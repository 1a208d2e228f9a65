"""Losses for PyTorch: torch.nn's classes and functions of the same names, and any loss of lossd's.

Values, arguments and defaults are PyTorch's; docs/python.md lists what differs. The gradient is computed
together with the loss. Second derivatives, forward-mode derivatives, and gradients of targets and of weights
cannot be had: they raise RuntimeError.

All functions take, beside PyTorch's arguments:

client: where to compute; default: lossd.default_client().
inplace: the gradient overwrites the input, which saves an array of its size. An operation that needs the
    input's old values for its own gradient raises RuntimeError then.
gradient_scale: what the gradient is scaled by before it is rounded to the input's dtype. With a GradScaler
    pass scaler.get_scale(): a float16 gradient does not underflow then. The gradient's value stays the same.
denominator: what the sum is divided by instead of the mean's own count: with ranks that have different
    numbers of labels, the number of all ranks over the number of ranks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn import _reduction

from lossd import losses
from lossd._core import Spec
from lossd._meaning import has_elements, spec_of
from lossd.client import Client, default_client

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "loss",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What the functions take beside PyTorch's arguments."""

    client: Client | None = None
    inplace: bool = False
    gradient_scale: float | None = None
    denominator: float | None = None


def _host(tensor: Tensor) -> Tensor:
    """The tensor in memory of the CPU; of another device, in a copy that is pinned."""
    tensor = tensor.detach()
    if tensor.device.type == "cpu":
        return tensor
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return copy.copy_(tensor)


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements lie without gaps, in any order."""
    expected = 1
    for stride, extent in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if extent == 0:
            return True
        if extent == 1:
            continue
        if stride != expected:
            return False
        expected *= extent
    return True


def _refuse_gradient(name: str, tensor: Any) -> None:
    if isinstance(tensor, Tensor) and tensor.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            f"lossd.torch has no gradient of {name}; wanted {name}.detach(), or torch's own function"
        )


def _loss_dtype(input: Tensor, targets: Tensor | None) -> torch.dtype:
    """The dtype of torch's result."""
    if torch.is_autocast_enabled(input.device.type):
        return torch.float32
    if targets is not None and targets.is_floating_point():
        return torch.result_type(input, targets)
    return input.dtype


def _keeps_graph() -> bool:
    """Whether the backward pass under way may come again (retain_graph)."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else ask()


@dataclasses.dataclass
class _Call:
    """A call, but for the inputs that may have a gradient."""

    spec: Spec
    targets: Tensor | None
    tensors: dict[str, Tensor]  # constants
    settings: _Settings
    dtype: torch.dtype  # of the loss

    def compute(
        self, input: Tensor, second: Tensor | None, gradient: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The loss and the gradients of both inputs."""
        host = _host(input)
        tensors = {name: _host(tensor) for name, tensor in self.tensors.items()}
        if second is not None:
            tensors["second_predictions"] = _host(second)
        result = (self.settings.client or default_client()).compute(
            host,
            None if self.targets is None else _host(self.targets),
            self.spec,
            gradient=gradient,
            out=host if gradient and self.settings.inplace else None,
            **tensors,
        )
        if self.spec.reduction == "none":
            value = result.position_losses.to(input.device, self.dtype)
        else:
            value = torch.tensor(result.loss, dtype=self.dtype, device=input.device)
        if not gradient:
            return value, None, None
        other = getattr(result, "second_gradient", None)
        if other is not None:
            other = other.to(input.device)
        if not self.settings.inplace:
            return value, result.gradient.to(input.device), other
        if input.device != host.device:
            input.detach().copy_(host)
        torch.autograd.graph.increment_version(input)
        return value, input.detach(), other


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, second: Tensor | None, call: _Call) -> Tensor:
        value, *ctx.gradients = call.compute(input, second, True)
        if ctx.needs_input_grad[1] and ctx.gradients[1] is None:
            raise RuntimeError(f"{call.spec.loss} has no gradient of second_predictions")
        ctx.spec = call.spec
        ctx.scale = call.settings.gradient_scale or 1.0
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gradients = ctx.gradients
        if gradients is None:
            raise RuntimeError(
                "the gradient was given away by the first backward pass; wanted retain_graph=True there"
            )
        again = _keeps_graph()
        if not again:
            ctx.gradients = None
        factor = grad_output if ctx.scale == 1.0 else grad_output.double() / ctx.scale
        first, second = (
            _times(gradient, factor, again, ctx.spec) if wanted and gradient is not None else None
            for gradient, wanted in zip(gradients, ctx.needs_input_grad, strict=False)
        )
        return first, second, None


def _times(gradient: Tensor, factor: Tensor, keep: bool, spec: Spec) -> Tensor:
    """gradient * factor, in its memory unless it is to be kept."""
    if 0 < factor.dim() < gradient.dim():
        factor = factor.unsqueeze(_class_axis(spec, gradient.dim()))
    if factor.dim() == 0 and factor.item() == 1.0:
        return gradient.clone() if keep else gradient
    if keep:
        return (gradient * factor).to(gradient.dtype)
    return gradient.mul_(factor)


def _class_axis(spec: Spec, rank: int) -> int:
    if spec.class_axis is not None:
        return spec.class_axis % rank
    return min(1, rank - 1)


def _run(input: Tensor, call: _Call) -> Tensor:
    second = call.tensors.pop("second_predictions", None)
    for name, tensor in call.tensors.items():
        _refuse_gradient(name, tensor)
    _refuse_gradient("the target", call.targets)
    if not _is_dense(input):
        input = input.contiguous()
    wanted = input.requires_grad or (second is not None and second.requires_grad)
    if wanted and torch.is_grad_enabled():
        return _Function.apply(input, second, call)
    return call.compute(input, second, False)[0]


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
    settings = _Settings(client, inplace)
    call = _Call(spec, target, dict(tensors), settings, _loss_dtype(input, None))
    return _run(input, call)


class Loss(torch.nn.Module):
    """loss() as a module: Loss(lossd.Softmax(reduction="valid"))(input, target)."""

    def __init__(self, spec: Spec, *, client: Client | None = None, inplace: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.client = client
        self.inplace = inplace

    def extra_repr(self) -> str:
        return repr(self.spec)

    def forward(self, input: Tensor, target: Tensor | None = None, **tensors: Tensor) -> Tensor:
        return loss(
            input, target, self.spec, client=self.client, inplace=self.inplace, **tensors
        )


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


def _scaled(spec: dict[str, Any], settings: _Settings) -> dict[str, Any]:
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
    settings: _Settings,
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
    call = _Call(spec, target, tensors, settings, _loss_dtype(input, None if labels else target))
    return _run(input, call)


def _in_the_order_of(input: Tensor, target: Tensor, labels: bool) -> Tensor:
    """Targets that lie in memory as the input does; a copy where they do not."""
    if input.is_contiguous():
        return target.contiguous()
    if not _is_dense(input):
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
    settings: _Settings,
    options: dict[str, Any],
    weight: Tensor | None = None,
    **tensors: Tensor,
) -> Tensor:
    """A loss over elements."""
    kind = _kind(name)
    dtype = _loss_dtype(input, target)
    if input.shape != target.shape:
        input, target = torch.broadcast_tensors(input, target)
    scalar = input.dim() == 0
    if scalar:
        input, target = input.reshape(1), target.reshape(1)
    if not _is_dense(input):
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
    value = _run(input, _Call(spec, target, tensors, settings, dtype))
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
    settings = _Settings(client, inplace, gradient_scale, denominator)
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
    settings = _Settings(client, inplace, gradient_scale, denominator)
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
    reduction = _reduction_of(size_average, reduce, reduction)
    if weight is not None and reduction == "mean":
        reduction = "weight_sum"
    return _elements(
        "SquaredError", input, target, reduction, _Settings(**settings), {}, weight
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
    reduction = _reduction_of(size_average, reduce, reduction)
    if weight is not None and reduction == "mean":
        reduction = "weight_sum"
    return _elements(
        "AbsoluteError", input, target, reduction, _Settings(**settings), {}, weight
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
    reduction = _reduction_of(None, None, reduction)
    if weight is not None and reduction == "mean":
        reduction = "weight_sum"
    options = {"delta": float(delta)}
    return _elements("Huber", input, target, reduction, _Settings(**settings), options, weight)


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
    return _elements("SmoothL1", input, target, reduction, _Settings(**settings), options)


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
        _Settings(**settings),
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
    return _elements("PoissonNll", input, target, reduction, _Settings(**settings), options)


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
        _Settings(**settings),
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
    """torch.nn.functional.kl_div; settings: as of this module."""
    reduction = _reduction_of(size_average, reduce, reduction)
    options = {"log_target": log_target}
    return _elements("KlDivergence", input, target, reduction, _Settings(**settings), options)


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
        "MultiMargin", input, target, weight, -100, reduction, 0.0, _Settings(**settings), options
    )


class _Settled:
    """What the classes take beside the arguments of torch.nn's class of the same name."""

    def __init__(
        self,
        *arguments: Any,
        client: Client | None = None,
        inplace: bool = False,
        gradient_scale: float | None = None,
        denominator: float | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._settings = {
            "client": client,
            "inplace": inplace,
            "gradient_scale": gradient_scale,
            "denominator": denominator,
        }


class CrossEntropyLoss(_Settled, torch.nn.CrossEntropyLoss):
    """torch.nn.CrossEntropyLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            **self._settings,
        )


class NLLLoss(_Settled, torch.nn.NLLLoss):
    """torch.nn.NLLLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            **self._settings,
        )


class MSELoss(_Settled, torch.nn.MSELoss):
    """torch.nn.MSELoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, reduction=self.reduction, **self._settings)


class L1Loss(_Settled, torch.nn.L1Loss):
    """torch.nn.L1Loss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return l1_loss(input, target, reduction=self.reduction, **self._settings)


class HuberLoss(_Settled, torch.nn.HuberLoss):
    """torch.nn.HuberLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return huber_loss(
            input, target, reduction=self.reduction, delta=self.delta, **self._settings
        )


class SmoothL1Loss(_Settled, torch.nn.SmoothL1Loss):
    """torch.nn.SmoothL1Loss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(
            input, target, reduction=self.reduction, beta=self.beta, **self._settings
        )


class BCEWithLogitsLoss(_Settled, torch.nn.BCEWithLogitsLoss):
    """torch.nn.BCEWithLogitsLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
            **self._settings,
        )


class PoissonNLLLoss(_Settled, torch.nn.PoissonNLLLoss):
    """torch.nn.PoissonNLLLoss; further keywords: as of this module."""

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
            **self._settings,
        )


class GaussianNLLLoss(_Settled, torch.nn.GaussianNLLLoss):
    """torch.nn.GaussianNLLLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return gaussian_nll_loss(
            input,
            target,
            var,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
            **self._settings,
        )


class KLDivLoss(_Settled, torch.nn.KLDivLoss):
    """torch.nn.KLDivLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return kl_div(
            input, target, reduction=self.reduction, log_target=self.log_target, **self._settings
        )


class MultiMarginLoss(_Settled, torch.nn.MultiMarginLoss):
    """torch.nn.MultiMarginLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
            **self._settings,
        )
