"""The classes of torch.nn, by lossd; further keywords: those that lossd.torch lists."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossd._core import Spec
from lossd.client import Client
from lossd.torch import _functions as functions


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
        return functions.loss(
            input, target, self.spec, client=self.client, inplace=self.inplace, **tensors
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
        return functions.cross_entropy(
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
        return functions.nll_loss(
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
        return functions.mse_loss(input, target, reduction=self.reduction, **self._settings)


class L1Loss(_Settled, torch.nn.L1Loss):
    """torch.nn.L1Loss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.l1_loss(input, target, reduction=self.reduction, **self._settings)


class HuberLoss(_Settled, torch.nn.HuberLoss):
    """torch.nn.HuberLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.huber_loss(
            input, target, reduction=self.reduction, delta=self.delta, **self._settings
        )


class SmoothL1Loss(_Settled, torch.nn.SmoothL1Loss):
    """torch.nn.SmoothL1Loss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.smooth_l1_loss(
            input, target, reduction=self.reduction, beta=self.beta, **self._settings
        )


class BCEWithLogitsLoss(_Settled, torch.nn.BCEWithLogitsLoss):
    """torch.nn.BCEWithLogitsLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.binary_cross_entropy_with_logits(
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
        return functions.poisson_nll_loss(
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
        return functions.gaussian_nll_loss(
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
        return functions.kl_div(
            input, target, reduction=self.reduction, log_target=self.log_target, **self._settings
        )


class MultiMarginLoss(_Settled, torch.nn.MultiMarginLoss):
    """torch.nn.MultiMarginLoss; further keywords: as of this module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functions.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
            **self._settings,
        )
