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

from lossd.torch._functions import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)
from lossd.torch._modules import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
)

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
