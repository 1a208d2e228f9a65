#!/usr/bin/python3
"""edge_test.py ROOT BIN: nginx with docker/nginx/edge.conf lets callers with a certificate in, and no flood.

Somebody who has a certificate opens streams and resets them at once, as fast as nginx takes them, again
on a new connection whenever nginx ends one. Next to nothing of it reaches lossd.
"""
import contextlib
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

import beside

SECONDS = 2
MOST_REACH = 0.01  # of what was sent


def certificates(work):
    """One CA of both sides; server.pem, clients.pem as edge.conf names them, and client.pem."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=work, stderr=subprocess.DEVNULL)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out",
            "clients.pem")
    for who in ("server", "client"):
        openssl("req", *key, "-subj", f"/CN={who}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", f"{who}.key", "-out", f"{who}.csr")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "clients.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", f"{who}.pem")


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def call_and_reset(stream):
    """HEADERS of a call, without HPACK's tables, and RST_STREAM."""
    fields = b"\x83\x86"  # POST, http
    for name, value in ((b":path", b"/lossd.v1.LossService/Compute"), (b":authority", b"lossd"),
                        (b"content-type", b"application/grpc"), (b"te", b"trailers")):
        fields += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return frame(1, 4, stream, fields) + frame(3, 0, stream, struct.pack(">I", 8))


def flood(work, address):
    """How many streams were sent, and on how many connections."""
    host, port = address.split(":")
    context = ssl.create_default_context(cafile=f"{work}/clients.pem")
    context.load_cert_chain(f"{work}/client.pem", f"{work}/client.key")
    context.set_alpn_protocols(["h2"])
    burst = [b"".join(call_and_reset(2 * i + 1) for i in range(at, at + 250))
             for at in range(0, 25000, 250)]
    streams = connections = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as plain, \
                context.wrap_socket(plain, server_hostname="localhost") as line:
            connections += 1
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(4, 1, 0, b""))
            for part in burst:
                line.sendall(part)
                streams += 250
    return streams, connections


def reached(replica):
    said = re.search(r"metrics on (\S+)", replica.program.text()).group(1)
    with urllib.request.urlopen(f"http://{said}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("lossd_requests_total{"))


def main(root, bin_dir):
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as running:
        certificates(work)
        pathlib.Path(work).chmod(0o755)
        replica = running.enter_context(
            beside.Replica(bin_dir, work, "127.0.0.2", flags=["--metrics-listen=127.0.0.2:0"]))
        proxy, address = beside.nginx(root, work, [replica, replica], "edge", work)
        running.enter_context(proxy)
        server = f"--server={address.replace('127.0.0.1', 'localhost')}"
        ours = [f"--tls-cert={work}/client.pem", f"--tls-key={work}/client.key"]

        def lossctl(*flags):
            return subprocess.run([f"{bin_dir}/lossctl", "info", server, f"--tls-ca={work}/clients.pem",
                                   *flags], stdout=subprocess.DEVNULL, timeout=60).returncode

        beside.wait_for("call through nginx", lambda: lossctl(*ours) == 0)
        before = reached(replica)
        assert lossctl() != 0, "who has no certificate may call"
        assert reached(replica) == before, "a call without a certificate reached lossd"
        streams, connections = flood(work, address)
        after = reached(replica) - before
        print(f"{streams} streams on {connections} connections, of which {after:.0f} reached lossd")
        assert streams > 10000, "hardly a flood"
        assert after < MOST_REACH * streams, "the flood reached lossd"
        assert lossctl(*ours) == 0, "nobody is served after the flood"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
