"""What calls raise. Each is also the built-in exception that fits, so that either may be caught."""

from __future__ import annotations


__all__ = [
    "Cancelled",
    "DeadlineExceeded",
    "Error",
    "ForkError",
    "InternalError",
    "InvalidArgument",
    "LabelError",
    "OutOfRange",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


class Error(Exception):
    """A call failed.

    code: the status code, as "INVALID_ARGUMENT".
    reason: why a server turned the call away, in one word, as "TOO_LARGE"; else "".
    """

    code: str = "UNKNOWN"
    reason: str = ""


class InvalidArgument(Error, ValueError):
    """The spec, a shape or a value is wrong; the message names it."""


class LabelError(InvalidArgument, IndexError):
    """A class index is out of range."""


class OutOfRange(Error, ValueError):
    """A value is out of range."""


class DeadlineExceeded(Error, TimeoutError):
    """The call's time is over."""


class Unavailable(Error, ConnectionError):
    """The service could not be reached within the retries."""


class Cancelled(Error):
    """The call was cancelled."""


class ResourceExhausted(Error):
    """A limit of the server's: too large, or too much at once."""


class Unimplemented(Error, NotImplementedError):
    """Legal, and not built: by this version of the server at least."""


class Unauthenticated(Error, PermissionError):
    """The server wants a token or a certificate, and did not get a good one."""


class InternalError(Error, RuntimeError):
    """A fault of lossd's, or an answer that makes no sense."""


class ForkError(RuntimeError):
    """A client of a service was used in a process that forked after the client was made."""


_BY_CODE: dict[str, type[Error]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": OutOfRange,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAVAILABLE": Unavailable,
    "CANCELLED": Cancelled,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNIMPLEMENTED": Unimplemented,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": Unauthenticated,
    "INTERNAL": InternalError,
}


def from_status(code: str, message: str, reason: str) -> Error:
    """The exception of a status."""
    kind = _BY_CODE.get(code, Error)
    if kind is InvalidArgument and message.startswith("class_indices["):
        kind = LabelError
    error = kind(message)
    error.code = code
    error.reason = reason
    return error
