"""Programs that the tests of this folder run beside lossd, on loopback addresses and free ports."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request

DEADLINE_SECONDS = 60


def wait_for(what, condition, seconds=DEADLINE_SECONDS):
    """Returns the first true value of condition(); fails, naming `what`, if there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.02)


class Program:
    """One process, its output in `log`; ended at the latest when the block ends."""

    def __init__(self, command, log, **more):
        self.log = pathlib.Path(log)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.log.open("ab"),
                                        stderr=subprocess.STDOUT, **more)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        # Asked first: nginx, killed, would leave its workers behind.
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if failure:
            print(f"--- the end of {self.log}\n{self.text()[-3000:]}")

    def text(self):
        return self.log.read_text()

    def wait_for_text(self, pattern, seconds=DEADLINE_SECONDS):
        """The match of `pattern` in the output, as soon as it is there."""
        def found():
            match = re.search(pattern, self.text())
            assert match or self.process.poll() is None, f"ended without {pattern}:\n{self.text()}"
            return match
        return wait_for(f"\"{pattern}\" in {self.log}", found, seconds)

    def stop(self, seconds=DEADLINE_SECONDS):
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


class Replica:
    """A lossd on one loopback host that can be started again at its ports."""

    def __init__(self, bin_dir, work, host, ports=(0, 0), flags=()):
        self.bin, self.work, self.host, self.ports = bin_dir, work, host, tuple(ports)
        self.flags, self.starts, self.program = list(flags), 0, None
        self.start()

    def start(self):
        self.starts += 1
        listen = [f"{self.host}:{port}" for port in self.ports]
        log = f"{self.work}/lossd-{self.host}-{self.starts}.log"
        self.program = Program([f"{self.bin}/lossd", f"--listen={listen[0]}",
                                f"--health-listen={listen[1]}", "--trusted-proxies=127.0.0.0/8",
                                "--log-level=debug", *self.flags], log)
        said = self.program.wait_for_text(r"listening on \S+:(\d+)\n(?:.*\n)*?"
                                          r".*health checks on \S+:(\d+)\n")
        self.ports = tuple(int(port) for port in said.groups())

    @property
    def address(self):
        return f"{self.host}:{self.ports[0]}"

    def stop(self):
        code = self.program.stop()
        assert code == 0, f"lossd ended with {code}:\n{self.program.text()[-2000:]}"

    def wait_for_call(self):
        """Until this start of it has answered somebody."""
        self.program.wait_for_text(r"code=OK")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.program.__exit__(*args)


def listening_socket(host="127.0.0.1"):
    """A socket for a program that is told its number, so that nobody else gets the port."""
    listener = socket.socket()
    listener.bind((host, 0))
    listener.listen(128)
    listener.set_inheritable(True)
    return listener


def replaced(path, replacements):
    """The text of a file with each pattern, which must be there once, replaced."""
    text = pathlib.Path(path).read_text()
    for pattern, replacement in replacements:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count == 1, f"{path}: {count} times \"{pattern}\"; wanted 1"
    return text


def haproxy(root, work, replicas):
    """HAProxy with the settings of docker/haproxy, before `replicas`. Returns program and address.

    program.state: where its metrics are.
    """
    grpc, state = listening_socket(), listening_socket()
    health = replicas[0].ports[1]
    assert all(replica.ports[1] == health for replica in replicas)
    servers = "\n".join(f"  server {r.host} {r.address} send-proxy-v2" for r in replicas)
    config = pathlib.Path(work, "haproxy.cfg")
    config.write_text(replaced(pathlib.Path(root, "docker/haproxy/haproxy.cfg"), (
        (r"^  bind :50151$", f"  bind fd@{grpc.fileno()}"),
        (r"^  bind :8405$", f"  bind fd@{state.fileno()}"),
        (r"connect port 50152", f"connect port {health}"),
        (r"^  server-template .*", servers))))
    program = Program(["haproxy", "-db", "-f", str(config)], f"{work}/haproxy.log",
                      pass_fds=(grpc.fileno(), state.fileno()))
    program.state = f"http://127.0.0.1:{state.getsockname()[1]}/metrics"
    return program, f"127.0.0.1:{grpc.getsockname()[1]}"


def haproxy_has(program, count):
    """Whether HAProxy finds so many replicas healthy."""
    with urllib.request.urlopen(program.state, timeout=10) as answer:
        return f'haproxy_backend_active_servers{{proxy="lossd"}} {count}\n' in answer.read().decode()


def require_nginx(root):
    """Fails for a Debian nginx older than the one docker/nginx wants."""
    wanted = re.search(r"^ARG NGINX_AT_LEAST=(.*)$",
                       pathlib.Path(root, "docker/nginx/Dockerfile").read_text(), re.MULTILINE).group(1)
    have = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "nginx"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    new = subprocess.run(["dpkg", "--compare-versions", have, "ge", wanted]).returncode == 0
    assert new, f"nginx is {have}; wanted {wanted} or later"


def nginx(root, work, replicas, listen="plaintext", certificates=None):
    """nginx with the settings of docker/nginx, before `replicas`. Returns program and address.

    `listen`: plaintext or edge; the latter with server.pem, server.key and clients.pem of `certificates`.
    """
    require_nginx(root)
    grpc, state = listening_socket(), listening_socket()
    port = [s.getsockname()[1] for s in (grpc, state)]
    text = replaced(pathlib.Path(root, f"docker/nginx/{listen}.conf"),
                    ((r"^listen 50151 ", f"listen 127.0.0.1:{port[0]} "),))
    pathlib.Path(work, "listen.conf").write_text(
        text.replace("/etc/lossd/tls", str(certificates)))
    config = pathlib.Path(work, "nginx.conf")
    config.write_text(replaced(pathlib.Path(root, "docker/nginx/nginx.conf"), (
        (r"^    listen 8405", f"    listen 127.0.0.1:{port[1]}"),
        (r"^    server lossd-1:50151 ", f"    server {replicas[0].address} "),
        (r"^    server lossd-2:50151 ", f"    server {replicas[1].address} "),
        (r"/tmp/nginx.pid", f"{work}/nginx.pid"),
        *((f"/tmp/{name};", f"{work}/{name};")
          for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi")))))
    # As nginx hands its own sockets to its successor.
    program = Program(["nginx", "-g", "daemon off;", "-c", str(config)], f"{work}/nginx.log",
                      pass_fds=(grpc.fileno(), state.fileno()),
                      env={**os.environ, "NGINX": f"{grpc.fileno()};{state.fileno()};"})
    return program, f"127.0.0.1:{port[0]}"


class Load(Program):
    """steady_load against `server`, from the first answers on."""

    def __init__(self, bin_dir, work, server, *flags, prefix=(), name="steady_load"):
        super().__init__([*prefix, f"{bin_dir}/steady_load", f"--server={server}", *flags],
                         f"{work}/{name}.log")

    def wait_until_ready(self):
        self.wait_for_text("ready\n")

    def finish(self, seconds=150):
        """Ends it, and returns what it counted; fails if a call failed or an answer was wrong."""
        self.process.stdin.close()
        code = self.process.wait(timeout=seconds)
        counted = json.loads(self.text().splitlines()[-1])
        print(counted)
        assert code == 0 and counted["failed"] == 0 and counted["wrong"] == 0, counted
        return counted
