#!/usr/bin/python3
"""rolling_restart_test.py ROOT BIN nginx|haproxy|client [stock]: two replicas are restarted in turn under load.

Ten times each. Between them and the load is nginx or HAProxy with the settings of docker/, or nothing
but the client's own balancing. The next is restarted when the one before is in use again; HAProxy, which
balances connections, only says that it would use it. No call fails, and every answer is right to the bit.
stock: the load is that of a stock client of gRPC with the service config of docs/deploy.md, in messages that
gRPC repeats by itself.
"""
import contextlib
import sys
import tempfile

import beside

ROUNDS = 10
STOCK = ("--stock", "--shape=32x10", "--shape=250x200")


def main(root, bin_dir, way, client=""):
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as running:
        first = running.enter_context(beside.Replica(bin_dir, work, "127.0.0.2"))
        second = running.enter_context(beside.Replica(bin_dir, work, "127.0.0.3", first.ports))
        replicas = [first, second]
        if way == "client":
            server = ("ipv4:" if client else "") + ",".join(replica.address for replica in replicas)
        else:
            proxy, server = getattr(beside, way)(root, work, replicas)
            running.enter_context(proxy)
        flags = STOCK if client == "stock" else ()
        load = running.enter_context(beside.Load(bin_dir, work, server, *flags))
        load.wait_until_ready()
        for _ in range(ROUNDS):
            for replica in replicas:
                replica.stop()
                replica.start()
                if way == "haproxy":
                    beside.wait_for("use of it", lambda: beside.haproxy_has(proxy, len(replicas)))
                else:
                    replica.wait_for_call()
        counted = load.finish()
        assert counted["calls"] > 20 * ROUNDS, "hardly any load"
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
