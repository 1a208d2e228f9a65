"""A loss and its gradient as one step of PyTorch's autograd."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from lossd._core import Spec
from lossd.client import Client, default_client


@dataclasses.dataclass(frozen=True)
class Settings:
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


def is_dense(tensor: Tensor) -> bool:
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


def loss_dtype(input: Tensor, targets: Tensor | None) -> torch.dtype:
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
class Call:
    """A call, but for the inputs that may have a gradient."""

    spec: Spec
    targets: Tensor | None
    tensors: dict[str, Tensor]  # constants
    settings: Settings
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
    def forward(ctx: Any, input: Tensor, second: Tensor | None, call: Call) -> Tensor:
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


def run(input: Tensor, call: Call) -> Tensor:
    second = call.tensors.pop("second_predictions", None)
    for name, tensor in call.tensors.items():
        _refuse_gradient(name, tensor)
    _refuse_gradient("the target", call.targets)
    if not is_dense(input):
        input = input.contiguous()
    wanted = input.requires_grad or (second is not None and second.requires_grad)
    if wanted and torch.is_grad_enabled():
        return _Function.apply(input, second, call)
    return call.compute(input, second, False)[0]
