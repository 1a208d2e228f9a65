"""Clients: targets, threads, futures, asyncio, cancellation, signals, fork, the end of the process."""
import asyncio
import concurrent.futures
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import lossd

X = np.zeros((64, 10), np.float32)
Y = np.zeros(64, np.int64)


@pytest.fixture
def stopped_server():
    """The address of a server that takes connections and never answers: its process is stopped."""
    binary = os.environ.get("LOSSD_BINARY", "")
    if not os.path.isfile(binary):
        pytest.skip("no server: LOSSD_BINARY names none")
    process = subprocess.Popen([binary, "--listen=127.0.0.1:0"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    try:
        yield process, process.stdout.readline().rsplit(" ", 1)[-1].strip()
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(60)


@pytest.fixture
def stuck(stopped_server):
    """A client that has called once and will get no other answer."""
    process, address = stopped_server
    with lossd.connect(address) as client:
        client.compute(X, Y)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # until all its threads have stopped
        yield client
        process.send_signal(signal.SIGCONT)


def run(script, *arguments, **environment):
    """The end of a process of its own that runs a script."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *arguments], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          env={**os.environ, **environment})


def test_targets(server, monkeypatch):
    monkeypatch.delenv("LOSSD_SERVER", raising=False)
    assert lossd.connect().target == "local"
    monkeypatch.setenv("LOSSD_SERVER", server)
    assert lossd.connect().target == server
    with pytest.raises(ValueError, match="target"):
        lossd.connect("a:1,,b:2")
    with pytest.raises(ValueError, match="timeout"):
        lossd.connect(server, timeout=0)
    with lossd.connect(f"{server},{server}") as both:
        assert both.compute(X, Y).position_count == 64


def test_what_it_is(client):
    info = client.info()
    assert info.numerics_version == lossd.connect("local").info().numerics_version
    assert "softmax" in info.losses and info.threads >= 1 and "bfloat16" in info.prediction_dtypes
    assert client.healthy()


def test_nobody_listens():
    with lossd.connect("127.0.0.1:1", timeout=2.0) as client:
        assert not client.healthy()
        with pytest.raises(ConnectionError) as caught:
            client.compute(X, Y)
        assert isinstance(caught.value, lossd.Unavailable) and caught.value.code == "UNAVAILABLE"


def test_a_closed_client_says_so(client):
    client.close()
    client.close()
    for call in (lambda: client.compute(X, Y), client.info, lambda: client.submit(X, Y).result()):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_threads(client, rng):
    xs = [rng.standard_normal((40, 6)) for _ in range(16)]
    wanted = [client.compute(x, Y[:40]).loss for x in xs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda x: client.compute(x, Y[:40]).loss, xs)) == wanted


def test_the_gil_is_free_during_a_call(stuck):
    steps = 0

    def count():
        nonlocal steps
        while not done.is_set():
            steps += 1

    done = threading.Event()
    thread = threading.Thread(target=count)
    thread.start()
    with pytest.raises(TimeoutError):
        stuck.compute(X, Y, timeout=0.2)
    done.set()
    thread.join()
    assert steps > 10_000


def test_deadline(stuck):
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        stuck.compute(X, Y, timeout=0.2)
    assert isinstance(caught.value, lossd.DeadlineExceeded)
    assert time.monotonic() - begin < 10


def test_futures(client):
    futures = [client.submit(X, Y) for _ in range(20)]
    assert {future.result(60).loss for future in futures} == {client.compute(X, Y).loss}
    with pytest.raises(IndexError):
        client.submit(X, Y + 10).result(60)
    with pytest.raises(TypeError):
        client.submit(X, Y, nope=1).result(60)
    done = client.submit(X, Y)
    done.result(60)
    assert not done.cancel() and not done.cancelled()


@pytest.mark.parametrize("rows", [64, 200_000])  # in one message, and as a stream
def test_cancelling_a_future_ends_the_call(stuck, rows):
    x, y = np.zeros((rows, 10), np.float32), np.zeros(rows, np.int64)
    out = np.empty_like(x)
    future = stuck.submit(x, y, out=out)
    assert not future.done()
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(30)
    assert future.cancelled()


def test_closing_ends_calls(stuck):
    future = stuck.submit(X, Y)
    errors = []

    def call():
        try:
            stuck.compute(X, Y)
        except lossd.Cancelled as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not stuck._calls() == 2:
        pass
    stuck.close()
    thread.join(30)
    assert errors and errors[0].code == "CANCELLED"
    with pytest.raises(lossd.Cancelled):
        future.result(30)


def test_asyncio(client):
    async def main():
        results = await asyncio.gather(*(client.compute_async(X, Y) for _ in range(10)))
        with pytest.raises(IndexError):
            await client.compute_async(X, Y + 10)
        return results

    assert {result.loss for result in asyncio.run(main())} == {client.compute(X, Y).loss}


def test_cancelling_a_task_ends_the_call(stuck):
    async def main():
        task = asyncio.create_task(stuck.compute_async(X, Y))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stuck._calls() == 0

    asyncio.run(main())


def test_ctrl_c_ends_a_call(stuck):
    main_thread = threading.main_thread().ident

    def interrupt():
        while stuck._calls() == 0:
            pass
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stuck.compute(X, Y)
    assert time.monotonic() - begin < 5
    thread.join()


FORK = """
    import os, sys, numpy as np, lossd
    x, y = np.zeros((64, 10), np.float32), np.zeros(64, np.int64)
    target = sys.argv[1]
    client, local = lossd.connect(target), lossd.connect("local")
    before = client.compute(x, y).loss
    assert local.compute(x, y).loss == before
    big = np.zeros((20000, 100), np.float32), np.zeros(20000, np.int64)
    local.compute(*big)
    pid = os.fork()
    if pid == 0:
        try:
            client.compute(x, y)
        except lossd.ForkError as error:
            assert "after the fork" in str(error)
        else:
            os._exit(1)
        assert local.compute(*big).position_count == 20000
        assert local.submit(x, y).result(30).loss == before
        client.close()
        del client
        print("child ends")
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert client.compute(x, y).loss == before
    print("parent ends")
"""


def test_fork(server):
    end = run(FORK, server)
    assert end.returncode == 0, end.stdout
    assert end.stdout.split("\n")[:2] == ["child ends", "parent ends"]


def test_multiprocessing(server):
    script = """
        import multiprocessing, sys, numpy as np, lossd
        client = lossd.connect(sys.argv[1])
        x, y = np.zeros((64, 10), np.float32), np.zeros(64, np.int64)
        wanted = client.compute(x, y).loss

        def work(target):
            with lossd.connect(target) as own:
                return own.compute(x, y).loss

        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(work, ["local"] * 4) == [wanted] * 4
            assert client.compute(x, y).loss == wanted
    """
    end = run(script, server)
    assert end.returncode == 0, end.stdout


def test_the_process_may_end_with_calls_under_way(stuck):
    script = """
        import sys, threading, numpy as np, lossd
        x, y = np.zeros((64, 10), np.float32), np.zeros(64, np.int64)
        client = lossd.connect(sys.argv[1])

        def call():
            client.compute(x, y)

        threading.Thread(target=call, daemon=True).start()
        future = client.submit(x, y)
        while client._calls() < 2:
            pass
    """
    end = run(script, stuck.target)
    assert end.returncode == 0, end.stdout
    assert "terminate called" not in end.stdout and "nanobind" not in end.stdout, end.stdout
