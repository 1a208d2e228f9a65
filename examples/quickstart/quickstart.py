"""quickstart.py [TARGET]: the loss of two rows of logits, and its gradient, from the server at TARGET.

Without TARGET the loss is computed in this process, to the same bits.
"""
import sys

import numpy as np

import lossd

logits = np.array([[1, 2, 3], [0.5, -1, 0]], np.float32)
labels = np.array([2, 0])

with lossd.connect(sys.argv[1] if len(sys.argv) > 1 else "local") as client:
    result = client.compute(logits, labels, lossd.Softmax())
print(f"loss {result.loss:.6f}, gradient of the first logit {result.gradient[0, 0]:.6f}")
