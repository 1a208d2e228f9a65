#!/usr/bin/python3
"""compose_test.py ROOT BIN: docker/compose.yaml, up, in use, restarted under load, watched, and down.

The images are there already. The load and the trainer use both ways: through nginx, and balanced by
the client.
"""
import contextlib
import json
import subprocess
import sys
import tempfile
import urllib.parse

import beside
import engine

NAME = "lossd-test"
ROUNDS = 10
REPLICAS = {"lossd-1": "10.213.151.11", "lossd-2": "10.213.151.12"}
WAYS = {"nginx": "127.0.0.1:50151", "client": ",".join(f"{ip}:50151" for ip in REPLICAS.values())}


class Compose:
    def __init__(self, run, root):
        self.run = run
        self.command = [*run.compose_command(), f"--project-name={NAME}",
                        f"--file={root}/docker/compose.yaml"]

    def __call__(self, *arguments):
        done = subprocess.run([*self.command, *arguments], env=self.run.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"compose {arguments}: {done.stdout[-3000:]}"
        return done.stdout

    def container(self, service):
        return self.run("ps", "--all", "--quiet", f"--filter=label=com.docker.compose.project={NAME}",
                        f"--filter=label=com.docker.compose.service={service}")

    def __enter__(self):
        self("--profile=demo", "up", "--detach", "--no-build")
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self("logs", "--tail=30"))
        self("down", "--volumes", "--timeout=5")


def calls_answered(run, ip):
    """Of this start of a replica."""
    text = run.fetch(f"http://{ip}:50153/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith("lossd_requests_total{") and 'code="OK"' in line)


def check_training(run, compose):
    """The service, through nginx; and the same image, balanced by the client."""
    trainer = compose.container("trainer")

    def ended():
        return run.inspect(trainer)["State"]["Status"] == "exited"

    beside.wait_for("end of the training", ended, 120)
    code = run.inspect(trainer)["State"]["ExitCode"]
    assert code == 0, f"the trainer ended with {code}: {run.logs(trainer)}"
    said = run("run", "--rm", f"--network={NAME}_default", "--read-only", "--tmpfs=/tmp",
               "--cap-drop=all", "lossd-trainer:local", "--server=dns:///lossd:50151")
    for text in (run.logs(trainer), said):
        assert "accuracy" in text, text
        print(text.strip().splitlines()[-1])


def announce(run, container):
    """Tells its neighbours that it is there.

    podman gives a container that is started again another hardware address. Its neighbours believe that
    after half a minute without an answer, or at once when they hear from it.
    """
    run("exec", container, "bash", "-c", ": </dev/tcp/nginx/8405; : </dev/tcp/10.213.151.1/1",
        check=False, quiet=True)


def check_rolling_restart(run, compose, bin_dir, work, way):
    flags = ("--threads=2",)
    with beside.Load(bin_dir, work, WAYS[way], *flags, prefix=run.inside, name=way) as load:
        load.wait_until_ready()
        for _ in range(ROUNDS):
            for service, ip in REPLICAS.items():
                container = compose.container(service)
                run("stop", "--time=130", container)
                code = run.inspect(container)["State"]["ExitCode"]
                assert code == 0, f"{service} ended with {code}"
                run("start", container)
                run.wait_until_healthy(container)
                announce(run, container)
                beside.wait_for(f"call answered by {service}", lambda: calls_answered(run, ip) > 0)
        load.finish()


def check_large(run, bin_dir, work):
    """A stream of 1 GiB each way through nginx, to replicas of 1 GiB."""
    load = beside.Load(bin_dir, work, WAYS["nginx"], "--threads=1", "--calls=2",
                       "--shape=8192x32768", prefix=run.inside, name="large")
    with load:
        load.process.wait(timeout=200)
        load.finish()


def check_prometheus(run):
    def ask(query):
        path = "api/v1/query?" + urllib.parse.urlencode({"query": query})
        return json.loads(run.fetch(f"http://127.0.0.1:9090/{path}"))["data"]["result"]

    beside.wait_for("scrape of both replicas",
                    lambda: [row["value"][1] for row in ask('up{job="lossd"}')] == ["1", "1"])
    beside.wait_for("count of calls", lambda: ask('sum(lossd_requests_total{code="OK"}) > 0'))
    rules = json.loads(run.fetch("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    bad = [rule for group in rules for rule in group["rules"] if rule["health"] == "err"]
    assert rules and not bad, bad
    faults = ask('ALERTS{alertname="LossdFault"}')
    assert not faults, faults


def main(root, bin_dir):
    with engine.Engine() as run, tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as up:
        compose = up.enter_context(Compose(run, root))
        for service in (*REPLICAS, "nginx", "prometheus"):
            run.wait_until_healthy(compose.container(service))
        check_training(run, compose)
        check_large(run, bin_dir, work)
        check_prometheus(run)
        for way in WAYS:
            check_rolling_restart(run, compose, bin_dir, work, way)
    print("compose: all well")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
