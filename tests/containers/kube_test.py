#!/usr/bin/python3
"""kube_test.py ROOT BIN KUBECTL: the Deployment of docker/kubernetes, in each of its forms, as a pod.

podman runs it (`kube play`): user, rights, limits, environment, files and liveness probe are in force;
what only a cluster has is left out by podman without a word.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import engine


def manifests(kubectl, folder, certificate_directory):
    """As podman takes them: it would not decode a Secret, so the files come from a directory."""
    text = subprocess.run([kubectl, "kustomize", folder], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    kept = []
    for document in text.split("\n---\n"):
        kind = next(line for line in document.splitlines() if line.startswith("kind: "))
        if kind not in ("kind: ConfigMap", "kind: Deployment"):
            continue
        # A Secret and what is said of it become a directory on the host.
        document = re.sub(r"^( +)secret:\n(?:\1 +.*\n?)+",
                          rf"\1hostPath:\n\1  path: {certificate_directory}\n", document,
                          flags=re.MULTILINE)
        kept.append(document)
    return "\n---\n".join(kept)


def check(run, bin_dir, manifest, flags, short):
    """With the client's `flags` it answers; with `short`, unless that is None, it refuses."""
    run("kube", "play", manifest, quiet=True)
    try:
        name = "lossd-pod-0-lossd"
        run.wait_until_healthy(name)
        seen = run.inspect(name)
        assert seen["HostConfig"]["ReadonlyRootfs"] and seen["HostConfig"]["Memory"] == 4 << 30
        status = pathlib.Path(f"/proc/{seen['State']['Pid']}/status").read_text()
        assert "Uid:\t10001" in status and "CapEff:\t0000000000000000" in status, status
        for command in (["health", "--server=127.0.0.1:50152"],
                        ["info", "--server=127.0.0.1:50151", *flags]):
            subprocess.run([*run.inside, f"{bin_dir}/lossctl", *command], check=True, timeout=30)
        if short is not None:
            refused = subprocess.run([*run.inside, f"{bin_dir}/lossctl", "info",
                                      "--server=127.0.0.1:50151", *short], timeout=60)
            assert refused.returncode != 0, f"{short} are enough to call"
    except Exception:
        print(run.logs("lossd-pod-0-lossd"))
        raise
    finally:
        run("kube", "down", manifest, check=False, quiet=True)


def main(root, bin_dir, kubectl):
    with engine.Engine() as run, tempfile.TemporaryDirectory() as work:
        if not run.podman:
            print("kube_test: needs podman")
            return 77
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=lossd",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{work}/tls.key",
                        "-out", f"{work}/tls.crt"], check=True, stderr=subprocess.DEVNULL)
        pathlib.Path(work).chmod(0o755)
        pathlib.Path(work, "tls.key").chmod(0o644)  # of a pod's user, who is not this one
        # One certificate is the server's, the caller's and both CAs.
        shutil.copy(f"{work}/tls.crt", f"{work}/ca.crt")
        pathlib.Path(work, "tokens").write_text("a-token-of-the-test\n")
        server = [f"--tls-ca={work}/tls.crt"]
        caller = [f"--tls-cert={work}/tls.crt", f"--tls-key={work}/tls.key"]
        for folder, flags, short in (("base", server + caller, server),
                                     ("tokens", [*server, f"--token-file={work}/tokens"], server),
                                     ("plaintext", [], None)):
            manifest = pathlib.Path(work, f"{folder}.yaml")
            manifest.write_text(manifests(kubectl, f"{root}/docker/kubernetes/{folder}", work))
            check(run, bin_dir, str(manifest), flags, short)
            print(f"{folder}: runs as a pod")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
