"""Loss functions and their gradients, in this process or by a service, to the same bits.

    >>> import lossd, numpy as np
    >>> client = lossd.connect()  # "local", or what LOSSD_SERVER says
    >>> logits, labels = np.zeros((8, 10), np.float32), np.arange(8)
    >>> result = client.compute(logits, labels, lossd.Softmax())
    >>> result.loss, result.gradient.shape
    (2.302585092994046, (8, 10))
"""

from lossd import errors, functional, losses
from lossd._core import Result, Spec, Sums, __version__
from lossd.client import Client, connect, default_client
from lossd.errors import *  # noqa: F403
from lossd.functional import *  # noqa: F403
from lossd.losses import *  # noqa: F403

__all__ = [
    "Client",
    "Result",
    "Spec",
    "Sums",
    "__version__",
    "connect",
    "default_client",
    *errors.__all__,
    *functional.__all__,
    *losses.__all__,
]
