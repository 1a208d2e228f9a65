"""podman or docker, whichever answers ($CONTAINER_ENGINE first).

podman as root works in a network namespace made for the test, so that nothing of this machine's
network changes. Where it cannot run health checks by itself (no systemd), they are run from here.
"""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading

import beside


def _answers(name):
    return shutil.which(name) and subprocess.run([name, "info"], stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL).returncode == 0


def name_of_engine():
    """None if there is no engine."""
    wanted = os.environ.get("CONTAINER_ENGINE")
    return next((name for name in ([wanted] if wanted else ["podman", "docker"])
                 if _answers(name)), None)


class Engine:
    """To be used in a `with` block; what was started through it is gone afterwards."""

    def __init__(self):
        self.name = name_of_engine()
        assert self.name, "neither podman nor docker answers"
        self.podman = self.name == "podman"
        self.inside, self.environment, self.cleanups = [], dict(os.environ), contextlib.ExitStack()

    def __enter__(self):
        if self.podman and os.geteuid() == 0 and shutil.which("ip"):
            network = f"lossd{os.getpid()}"
            subprocess.run(["ip", "netns", "add", network], check=True)
            self.cleanups.callback(subprocess.run, ["ip", "netns", "delete", network])
            subprocess.run(["ip", "-n", network, "link", "set", "lo", "up"], check=True)
            self.inside = ["nsenter", f"--net=/run/netns/{network}"]
        return self

    def __exit__(self, *_):
        self.cleanups.close()

    def __call__(self, *arguments, check=True, quiet=False):
        """Runs the engine; returns what it printed. Errors of podman's about a missing systemd go by."""
        with tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run([*self.inside, self.name, *arguments], text=True, stderr=errors,
                                  stdout=subprocess.PIPE)
            errors.seek(0)
            said = "".join(line for line in errors if "systemd" not in line)
        assert not check or done.returncode == 0, f"{self.name} {arguments}: {said}"
        if said and not quiet:
            print(said, end="")
        return done.stdout.strip() if check else done

    def inspect(self, container):
        return json.loads(self("inspect", container))[0]

    def healthy(self, container):
        if self.podman:
            return self("healthcheck", "run", container, check=False, quiet=True).returncode == 0
        return self.inspect(container)["State"]["Health"]["Status"] == "healthy"

    def wait_until_healthy(self, container):
        beside.wait_for(f"healthy {container}", lambda: self.healthy(container))

    def logs(self, container):
        """Standard output and error of it."""
        done = subprocess.run([self.name, "logs", container], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        return done.stdout

    def fetch(self, url):
        """The text behind an address of a container."""
        return subprocess.run([*self.inside, "curl", "--silent", "--fail", "--max-time", "10", url],
                              check=True, text=True, stdout=subprocess.PIPE).stdout

    @contextlib.contextmanager
    def container(self, image, *command, options=()):
        """One that runs; killed and removed at the end."""
        name = self("run", "--detach", *options, image, *command)
        try:
            yield name
        finally:
            self("rm", "--force", name, check=False, quiet=True)

    def compose_command(self):
        if self.podman:
            socket = f"{tempfile.mkdtemp()}/socket"
            self.cleanups.callback(shutil.rmtree, os.path.dirname(socket))
            service = self.cleanups.enter_context(beside.Program(
                [*self.inside, "podman", "system", "service", "--time=0", f"unix://{socket}"],
                os.path.dirname(socket) + "/log"))
            beside.wait_for("podman's socket", lambda: os.path.exists(socket))
            assert service.process.poll() is None
            self.environment["DOCKER_HOST"] = f"unix://{socket}"
            self._run_health_checks()
        if shutil.which("docker-compose"):
            return ["docker-compose"]
        return ["docker", "compose"]

    def _run_health_checks(self):
        stop = threading.Event()

        def loop():
            while not stop.wait(0.5):
                running = self("ps", "--quiet", check=False, quiet=True).stdout.split()
                for container in running:
                    self("healthcheck", "run", container, check=False, quiet=True)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self.cleanups.callback(thread.join)
        self.cleanups.callback(stop.set)
