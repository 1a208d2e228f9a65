"""Fixtures of the tests of the Python package.

The package is that of PYTHONPATH or of the virtual environment. LOSSD_BINARY names the server that the
tests of services start; without it they are skipped. LOSSD_TEST_SEED seeds what is random.
"""
import os
import pathlib
import subprocess

import numpy as np
import pytest

import lossd

SEED = int(os.environ.get("LOSSD_TEST_SEED", "20261201"))


def pytest_report_header():
    return f"lossd {lossd.__version__} of {lossd.__file__}, LOSSD_TEST_SEED={SEED}"


@pytest.fixture
def rng():
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def server():
    """The address of a server that ends with the session."""
    binary = os.environ.get("LOSSD_BINARY", "")
    if not pathlib.Path(binary).is_file():
        pytest.skip("no server: LOSSD_BINARY names none")
    process = subprocess.Popen([binary, "--listen=127.0.0.1:0"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline()
        yield line.rsplit(" ", 1)[-1].strip()
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(params=["local", "service"])
def client(request):
    """A client of either kind: everything that uses it runs twice."""
    target = "local" if request.param == "local" else request.getfixturevalue("server")
    with lossd.connect(target) as client:
        yield client
