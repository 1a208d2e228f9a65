"""The Python of README.md and examples/quickstart runs as it stands."""
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_readme(server):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert blocks
    for block in blocks:
        assert "127.0.0.1:50151" in block
        names = {}
        exec(block.replace("127.0.0.1:50151", server), names)
        assert names["result"].loss > 0
        assert names["result"].gradient.shape == names["logits"].shape
        names["client"].close()


@pytest.mark.parametrize("where", ["local", "service"])
def test_quickstart(where, request):
    arguments = [request.getfixturevalue("server")] if where == "service" else []
    done = subprocess.run([sys.executable, ROOT / "examples/quickstart/quickstart.py", *arguments],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    # What the C++ quickstart prints.
    assert done.stdout == "loss 0.505868, gradient of the first logit 0.045015\n"
    assert done.returncode == 0
