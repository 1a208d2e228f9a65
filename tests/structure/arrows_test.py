#!/usr/bin/python3
"""arrows_test.py ROOT: fails for an include that docs/architecture.md does not allow.

A room may include its own files, those of the rooms named for it here, and the outside libraries named
for it; the standard and system headers are everybody's. Tests may include what they test.
"""
import pathlib
import re
import sys

# Folder -> room; the longest match counts.
ROOMS = {
    "core/types": "types",
    "core/files": "files",
    "core/system": "system",
    "core/flags": "flags",
    "core/plan": "plan",
    "core/kernels": "kernels",
    "core/exec": "exec",
    "protos/wire": "wire",
    "server": "server",
    "server/admission": "admission",
    "server/calls": "calls",
    "server/config": "config",
    "server/control": "control",
    "server/coverage": "coverage",
    "server/listen": "listen",
    "server/log": "log",
    "server/memory": "memory",
    "server/metrics": "metrics",
    "server/security": "security",
    "server/shared_memory": "shared_memory",
    "client": "client",
    "client/include": "client_api",
    "client/call": "client_call",
    "client/grpc": "client_grpc",
    "client/transport": "client_transport",
    "client/testing": "client_testing",
    "client/shared_memory": "client_shared",
    "client/npy": "npy",
    "client/lossctl": "lossctl",
    "client/python": "python",
    "examples": "examples",
    "tests/support": "support",
}
# Room -> rooms and outside libraries it may include.
ARROWS = {
    "types": {"absl"},
    "files": {"types", "absl", "openssl"},
    "system": {"absl"},
    "flags": {"types", "absl"},
    "plan": {"types", "absl"},
    "kernels": {"hwy"},
    "exec": {"types", "system", "plan", "kernels", "absl", "tbb"},
    "wire": {"types", "protos", "absl", "grpc", "protobuf"},
    "log": {"types", "files", "absl", "grpc", "spdlog"},
    "memory": {"types", "absl"},
    "coverage": {"types", "absl"},
    "admission": {"types", "system", "plan", "exec", "wire", "absl"},
    "listen": {"admission", "log", "types", "absl", "grpc", "openssl"},
    "security": {"types", "files", "absl", "grpc", "openssl"},
    "shared_memory": {"admission", "listen", "types", "wire", "absl"},
    "metrics": {"admission", "listen", "types", "absl", "prometheus", "microhttpd"},
    "calls": {"admission", "coverage", "log", "memory", "metrics", "security", "shared_memory",
              "types", "plan", "exec", "wire", "absl", "grpc"},
    "control": {"admission", "calls", "listen", "log", "metrics", "security", "types", "absl",
                "grpc"},
    "config": {"admission", "files", "flags", "listen", "log", "security", "types", "wire", "absl"},
    "server": {"admission", "calls", "config", "control", "flags", "listen", "log", "memory",
               "metrics", "security", "shared_memory", "types", "system", "exec", "absl", "cli11", "grpc"},
    "client_api": {"types", "absl"},
    "client_transport": {"wire", "absl", "grpc"},
    "client_shared": {"client_api", "types", "wire", "absl"},
    "client_call": {"client_api", "client_shared", "client_transport", "types", "wire", "absl"},
    "client_grpc": {"client_api", "client_transport", "types", "files", "wire", "absl", "grpc"},
    "client_testing": {"client_api", "client_call", "client_transport", "types", "wire", "absl"},
    "client": {"client_api", "client_call", "client_grpc", "client_shared", "client_transport",
               "types", "wire", "absl"},
    "npy": {"types", "absl"},
    "lossctl": {"client_api", "types", "flags", "npy", "absl", "cli11", "httplib", "json"},
    "python": {"client_api", "types", "exec", "absl", "nanobind"},
    "examples": {"client_api", "types", "absl", "cli11", "mpi", "zlib"},
    "support": {"types", "absl", "gtest", "openssl"},
}
# Single files that may do more than their room, each with its reason.
FILES = {
    "server/calls/raw_service.cc": {"protos"},  # registers the service under its generated name
    "server/control/health_methods.cc": {"protos"},  # speaks grpc.health.v1
    "server/control/reflection_method.cc": {"protos", "protobuf"},  # describes the services
    "server/log/grpc_log.cc": {"protobuf"},  # its complaints become lines, too
    "server/sandbox.cc": {"seccomp"},  # the one place that knows system calls
}
OUTSIDE = [  # header name -> library; the first match counts
    (r"(lossd|grpc/health|grpc/reflection)/v1/", "protos"),
    (r"absl/", "absl"),
    (r"(grpc|grpcpp|grpc\+\+)/", "grpc"),
    (r"google/protobuf/", "protobuf"),
    (r"(tbb|oneapi)/", "tbb"),
    (r"hwy/", "hwy"),
    (r"openssl/", "openssl"),
    (r"seccomp\.h", "seccomp"),
    (r"CLI/", "cli11"),
    (r"spdlog/", "spdlog"),
    (r"prometheus/", "prometheus"),
    (r"microhttpd\.h", "microhttpd"),
    (r"httplib\.h", "httplib"),
    (r"nlohmann/", "json"),
    (r"(gtest|gmock)/", "gtest"),
    (r"nanobind/", "nanobind"),
    (r"mpi\.h", "mpi"),
    (r"zlib\.h", "zlib"),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def room_of(path):
    folders = [f for f in ROOMS if path.startswith(f + "/")]
    return ROOMS[max(folders, key=len)] if folders else None


def included_room(quote, name, exists):
    """The room or library an include names; None for the standard library and the system."""
    for pattern, library in OUTSIDE:
        if re.match(pattern, name):
            return library
    if quote == "<":
        return None
    if name.startswith("lossd/"):
        for api in ("core/types/include/", "client/include/"):
            if exists(api + name):
                return room_of(api + name)
    if exists(name):
        return room_of(name) or f"the folder of {name}"
    return f"\"{name}\", which is no path from the root of the tree"


def faults(files, exists):
    """files: path -> text. Yields a line per include that is not allowed."""
    for path, text in sorted(files.items()):
        room = room_of(path)
        if room is None:
            continue
        allowed = ARROWS[room] | FILES.get(path, set()) | {room, None}
        for quote, name in INCLUDE.findall(text):
            target = included_room(quote, name, exists)
            if target not in allowed:
                yield f"{path}: {room} may not include {name} ({target})"


def circle():
    """Rooms that include each other, by whatever way round; none if the arrows point one way."""
    done, path = set(), []

    def visit(room):
        if room in path:
            return path[path.index(room):] + [room]
        if room in done or room not in ARROWS:
            return None
        path.append(room)
        found = next(filter(None, map(visit, sorted(ARROWS[room]))), None)
        path.pop()
        done.add(room)
        return found

    return next(filter(None, map(visit, sorted(ARROWS))), None)


def self_test():
    """One wrong include of each kind is found, and a right one is not."""
    files = {
        "core/plan/a.h": '#include "core/exec/b.h"',
        "core/types/a.cc": "#include <google/protobuf/message.h>",
        "core/kernels/a.cc": "#include <tbb/parallel_for.h>\n# include \"absl/status/status.h\"",
        "client/include/lossd/a.h": "#include <grpcpp/grpcpp.h>",
        "client/a.cc": '#include "core/exec/b.h"',
        "client/call/a.cc": '#include "client/grpc/b.h"',
        "client/grpc/b.h": '#include "client/transport/b.h"',
        "client/transport/b.h": "",
        "server/calls/b.h": "",
        "server/a.cc": '#include "lossd/v1/loss.pb.h"\n#include "b.h"',
        "server/listen/a.h": '#include "server/calls/b.h"',
        "core/exec/b.h": '#include <vector>\n#include "core/plan/a.h"',
    }
    found = list(faults(files, lambda path: path in files))
    assert len(found) == 10, "\n".join(found)
    assert not any(line.startswith("core/exec/b.h") for line in found), found
    ARROWS["listen"].add("calls")
    assert circle() == ["calls", "metrics", "listen", "calls"], circle()
    ARROWS["listen"].remove("calls")


def main(root):
    self_test()
    if circle():
        print("rooms include each other: " + " -> ".join(circle()))
        return 1
    root = pathlib.Path(root)
    files = {}
    for top in ("client", "core", "examples", "protos", "server", "tests"):
        for path in (root / top).rglob("*"):
            if path.suffix in (".h", ".cc"):
                files[path.relative_to(root).as_posix()] = path.read_text()
    found = list(faults(files, lambda path: (root / path).is_file()))
    print("\n".join(found) or f"{len(files)} files, every include follows an arrow")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
