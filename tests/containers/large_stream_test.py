#!/usr/bin/python3
"""large_stream_test.py ROOT BIN nginx|haproxy: 1 GiB each way through a proxy, right to the bit.

Then four calls at once that send and receive: a proxy that lets them wait for each other stands still.
"""
import contextlib
import sys
import tempfile

import beside


def main(root, bin_dir, way):
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as running:
        first = running.enter_context(beside.Replica(bin_dir, work, "127.0.0.2"))
        second = running.enter_context(beside.Replica(bin_dir, work, "127.0.0.3", first.ports))
        proxy, server = getattr(beside, way)(root, work, [first, second])
        running.enter_context(proxy)
        for name, flags in (("large", ("--threads=1", "--calls=2", "--shape=8192x32768")),
                            ("crossing", ("--threads=4", "--calls=200", "--shape=2000x1000"))):
            load = running.enter_context(beside.Load(bin_dir, work, server, *flags, name=name))
            load.process.wait(timeout=120)
            counted = load.finish()
            assert name == "large" or counted["slowest_ms"] < 10000, "it stood still"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
