#!/usr/bin/python3
"""deb_test.py ROOT BUILD: cpack makes two packages; the one of the server is installed, removed and purged.

That happens in a folder that dpkg takes for the machine (as root only; nobody else may install).
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FILES = {
    "/etc/default/lossd", "/etc/lossd/lossd.conf", "/usr/bin/lossctl", "/usr/bin/lossd",
    "/usr/lib/systemd/system/lossd.service", "/usr/share/doc/lossd/CHANGELOG.md",
    "/usr/share/doc/lossd/LICENSE", "/usr/share/doc/lossd/README.md",
    "/usr/share/doc/lossd/copyright", "/usr/share/lossd/protos/lossd/v1/loss.proto"}
DEPENDS = {"libc6", "libgrpc++1.51", "libhwy1", "libseccomp2", "libssl3", "libtbb12"}


def run(*command, **more):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def check_contents(package):
    lines = [line.split() for line in run("dpkg-deb", "--contents", package).splitlines()]
    files = {line[5].removeprefix(".") for line in lines if not line[0].startswith("d")}
    assert files == FILES, f"more or less than wanted: {sorted(files ^ FILES)}"
    for mode, owner, *_, path in lines:
        assert owner == "root/root" and mode[5] != "w" and mode[8] != "w", f"{path}: {mode} {owner}"
    conffiles = set(run("dpkg-deb", "--info", package, "conffiles").split())
    assert conffiles == {file for file in files if file.startswith("/etc/")}, conffiles
    depends = run("dpkg-deb", "--field", package, "Depends")
    missing = DEPENDS - set(re.findall(r"(?:^|, )([^ ,]+)", depends))
    assert not missing, f"does not depend on {missing}: {depends}"


def check_settings(root):
    """The settings are ones that lossd understands, also those that stand there as an example."""
    lossd = f"{root}/usr/bin/lossd"
    config = pathlib.Path(root, "etc/lossd/lossd.conf")
    plain = run(lossd, f"--config={config}", "--print-config")
    assert "\nlisten = 127.0.0.1:50151\n" in plain, plain
    uncommented = re.sub(r"^# (\S+ = )", r"\1", config.read_text(), flags=re.MULTILINE)
    pathlib.Path(root, "example.conf").write_text(uncommented)
    assert "\ntls-client-ca = " in run(lossd, f"--config={root}/example.conf", "--print-config")
    variables = re.findall(r"^# (LOSSD_\w+)=(\S+)$",
                           pathlib.Path(root, "etc/default/lossd").read_text(), re.MULTILINE)
    assert variables
    run(lossd, "--print-config", env={**os.environ, **dict(variables)})


def check_unit(root):
    unit = pathlib.Path(root, "usr/lib/systemd/system/lossd.service").read_text()
    for key in ("ExecStart", "EnvironmentFile", "Environment"):
        value = re.search(rf"^{key}=(.*)$", unit, re.MULTILINE).group(1)
        path = value.removeprefix("-").removeprefix("LOSSD_CONFIG=")
        assert path in FILES, f"{key}={value} is not in the package"


def check_life(package, root):
    """Installed, removed (what is in /etc stays), purged (nothing stays)."""
    database = pathlib.Path(root, "var/lib/dpkg")
    for folder in ("info", "updates", "triggers"):
        (database / folder).mkdir(parents=True)
    (database / "status").touch()
    dpkg = ("dpkg", f"--root={root}", "--force-depends", "--force-script-chrootless", "--log=/dev/null")
    run(*dpkg, "--install", package)
    assert "ok installed" in run(*dpkg, "--status", "lossd")
    check_settings(root)
    check_unit(root)
    run(*dpkg, "--remove", "lossd")
    assert not os.path.exists(f"{root}/usr/bin/lossd") and os.path.exists(f"{root}/etc/lossd/lossd.conf")
    run(*dpkg, "--purge", "lossd")
    assert not os.path.exists(f"{root}/etc/lossd") and not os.path.exists(f"{root}/etc/default/lossd")


def main(_, build):
    with tempfile.TemporaryDirectory() as work:
        run("cpack", "-G", "DEB", "-B", work, cwd=build)
        packages = {path.name.split("_")[0]: str(path) for path in pathlib.Path(work).glob("*.deb")}
        assert set(packages) == {"lossd", "lossd-dev"}, packages
        check_contents(packages["lossd"])
        library = run("dpkg-deb", "--contents", packages["lossd-dev"])
        for file in ("/usr/include/lossd/client.h", "liblossd_client.a", "lossdConfig.cmake"):
            assert file in library, f"lossd-dev has no {file}"
        assert "bin/" not in library, "lossd-dev has programs"
        if os.geteuid() == 0:
            check_life(packages["lossd"], f"{work}/root")
        print(run("dpkg-deb", "--field", packages["lossd"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
