#!/usr/bin/python3
"""image_test.py IMAGE: what the image of lossd holds, and that it runs with as little as it is given."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import engine

MOST_BYTES = 120_000_000
LOCKED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--memory=512m",
          "--cpus=1", "--pids-limit=256")


def check_contents(run, image):
    seen = run.inspect(image)
    config = seen["Config"]
    assert seen["Size"] < MOST_BYTES, f"{seen['Size']} bytes; wanted less than {MOST_BYTES}"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"]), f"USER {config['User']}"
    assert config["Entrypoint"] == ["/usr/local/bin/lossd"], config["Entrypoint"]
    assert config.get("StopSignal", "SIGTERM") in ("SIGTERM", "15"), config["StopSignal"]
    assert {"50151/tcp", "50152/tcp", "50153/tcp"} <= set(config["ExposedPorts"]), "EXPOSE"
    health = config.get("Healthcheck") or seen.get("Healthcheck")
    assert health and "lossctl" in " ".join(health["Test"]), f"HEALTHCHECK {health}"
    labels = config["Labels"]
    version = run("run", "--rm", image, "--version")
    assert version == f"lossd {labels['org.opencontainers.image.version']}", version
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"

    def shell(command):
        return run("run", "--rm", "--entrypoint", "sh", image, "-c", command)

    share = "/usr/local/share"
    assert "message " in shell(f"cat {share}/lossd/protos/lossd/v1/loss.proto"), "no contract"
    assert "Apache License" in shell(f"cat {share}/doc/lossd/LICENSE"), "no licence"
    assert "nlohmann-json3-dev" in shell(f"ls {share}/doc/lossd/licences"), "no licences"
    packages = shell(f"cat {share}/doc/lossd/packages.tsv")
    assert re.search(r"^libgrpc\+\+1\.51\t", packages, re.MULTILINE), "no list of packages"
    bom = shell(f"cat {share}/doc/lossd/lossd.cdx.json")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(bom)
        file.flush()
        check = pathlib.Path(__file__).parents[1] / "packaging/sbom_test.py"
        subprocess.run([sys.executable, check, file.name], check=True)
    versions = dict(line.split("\t")[:2] for line in packages.splitlines())
    for component in json.loads(bom)["components"]:
        if {"name": "lossd:linked", "value": "shared"} in component["properties"]:
            assert versions[component["name"]] == component["version"], f"{component} is not in the image"
    build = [line.split("\t")[0] for line in packages.splitlines()
             if re.match(r"(g\+\+|gcc(-\d+)?|cmake|ninja-build|ccache|lib\S+-dev)\t", line)]
    assert not build, f"packages of the build: {build}"
    left = shell("find /src /ccache /tmp -mindepth 1 2>/dev/null; command -v cc g++ make || true")
    assert not left, f"left of the build: {left}"


def check_running(run, image):
    with run.container(image, options=LOCKED) as lossd:
        run.wait_until_healthy(lossd)
        pid = run.inspect(lossd)["State"]["Pid"]
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE), "it runs as somebody else"
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE), "it has capabilities"
        assert run("exec", lossd, "cat", "/proc/1/comm") == "lossd", "it is not process 1"
        mounts = pathlib.Path(f"/proc/{pid}/mounts").read_text()
        assert re.search(r"^\S+ / \S+ ro\b", mounts, re.MULTILINE), "its root can be written"
        settings = re.search(r"^lossd: settings .*", run.logs(lossd), re.MULTILINE).group()
        print(settings)
        assert " memory-budget=256MiB " in settings, "wanted half of the container's memory"
        assert " threads=1 " in settings, "wanted the container's share of the processor"
        run("stop", "--time=10", lossd)
        code = run.inspect(lossd)["State"]["ExitCode"]
        assert code == 0, f"SIGTERM ended it with {code}"


def check_refusals(run, image):
    """Without --insecure-listen, in the clear, it does not serve, whatever else it is told."""
    for flag in ("--listen=0.0.0.0:50151", "--max-streams=7"):
        refused = run("run", "--rm", image, flag, check=False, quiet=True)
        assert refused.returncode == 2, f"{flag}: exit code {refused.returncode}; wanted 2"


def check_settings(run, image):
    """One that is given leaves the others as they are."""
    printed = run("run", "--rm", "--env=LOSSD_HEALTH_LISTEN=127.0.0.1:9", image, "--insecure-listen",
                  "--listen=127.0.0.1:8", "--print-config")
    for line in ("listen = 127.0.0.1:8", "health-listen = 127.0.0.1:9",
                 "metrics-listen = 0.0.0.0:50153"):
        assert re.search(f"^{line}$", printed, re.MULTILINE), f"no {line} in\n{printed}"


def main(image):
    with engine.Engine() as run:
        check_contents(run, image)
        check_running(run, image)
        check_refusals(run, image)
        check_settings(run, image)
    print("the image is as it should be")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
