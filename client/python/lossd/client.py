"""Where losses are computed: in this process, or by a service."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import os
import threading
import weakref
from typing import Any, Callable

from lossd import _core


class _CallFuture(concurrent.futures.Future):
    """The answer of a call to come. cancel() asks the call to end; the future is cancelled when it has
    ended and no array is in use any more, within a tenth of a second as a rule."""

    def __init__(self, stop: _core.Stop) -> None:
        super().__init__()
        self._stop = stop

    def cancel(self) -> bool:
        if self.done():
            return self.cancelled()
        self._stop.request()
        return True

    def end(self, result: Any, error: BaseException | None) -> None:
        """The transport calls this once, when it no longer uses the arrays of the call."""
        if self._stop.requested:
            super().cancel()
            self.set_running_or_notify_cancel()
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(result)


class Client(_core.Client):
    """A handle on a service, or on this process. Thread-safe; make one and keep it.

    A client of a service must not be used in a process that forked after the client was made: calls
    raise ForkError there. One of "local" may.
    """

    def __init__(self, target: str, timeout: float, connections: int) -> None:
        super().__init__(target, timeout, connections)
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pool_pid = 0
        self._lock = threading.Lock()
        _CLIENTS.add(self)

    def submit(
        self, predictions: Any, targets: Any, spec: _core.Spec | str = "softmax", **arguments: Any
    ) -> concurrent.futures.Future[_core.Result]:
        """compute() without waiting: the same arguments. The arrays are in use until the future is done."""
        stop = _core.Stop()
        future = _CallFuture(stop)
        if self.target == "local":
            compute = functools.partial(
                self._compute, stop, predictions, targets, spec, **arguments
            )
            self._threads().submit(_run, compute, future)
        else:
            self._start(stop, future.end, predictions, targets, spec, **arguments)
        return future

    async def compute_async(
        self, predictions: Any, targets: Any, spec: _core.Spec | str = "softmax", **arguments: Any
    ) -> _core.Result:
        """compute() for asyncio. Cancelling the task cancels the call; CancelledError is raised when the
        call has ended and no array is in use any more."""
        loop = asyncio.get_running_loop()
        future = self.submit(predictions, targets, spec, **arguments)
        ended = asyncio.Event()

        def wake(_: Any) -> None:
            try:
                loop.call_soon_threadsafe(ended.set)
            except RuntimeError:  # the event loop is closed, nothing awaits this
                pass

        future.add_done_callback(wake)
        cancelled = False
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                cancelled = True
                future.cancel()
        if cancelled:
            raise asyncio.CancelledError
        return future.result()

    def close(self) -> None:
        """Cancels the calls under way and waits for their end. The client cannot be used afterwards."""
        with self._lock:
            pool, self._pool = self._pool, None
        super().close()
        if pool is not None and self._pool_pid == os.getpid():
            pool.shutdown(wait=True)

    def _threads(self) -> concurrent.futures.ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._pool_pid != os.getpid():
                self._pool = concurrent.futures.ThreadPoolExecutor(2, "lossd")
                self._pool_pid = os.getpid()
            return self._pool

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"lossd.connect({self.target!r})"


def _run(compute: Callable[[], _core.Result], future: _CallFuture) -> None:
    try:
        result = compute()
    except BaseException as error:  # noqa: BLE001: the future raises it
        future.end(None, error)
    else:
        future.end(result, None)


def connect(target: str | None = None, *, timeout: float = 120.0, connections: int = 2) -> Client:
    """Connects to a service, or to this process. Whether anybody listens shows with the first call.

    target: "local" computes in this process; "host:port", several with commas, "dns:///name:port"
        and "unix:/path" are services. None: what the environment variable LOSSD_SERVER says, and
        "local" without it. All answer with the same bits.
    timeout: seconds that a call to a service may take, retries included.
    connections: TCP connections to each server.
    """
    if target is None:
        target = os.environ.get("LOSSD_SERVER") or "local"
    return Client(target, timeout, connections)


_default: tuple[int, Client] | None = None


def default_client() -> Client:
    """The client of functions that are given none: connect(), made once in each process."""
    global _default
    if _default is None or _default[0] != os.getpid():
        _default = (os.getpid(), connect())
    return _default[1]


_CLIENTS: weakref.WeakSet[Client] = weakref.WeakSet()


def _close_all() -> None:
    """Ends the calls of daemon threads, whose answers an interpreter that is gone could not take."""
    for client in list(_CLIENTS):
        client.close()


atexit.register(_close_all)
