#!/usr/bin/python3
"""unit_test.py ROOT BUILD: systemd understands the unit, and finds little that it would leave open."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MOST_EXPOSURE = 1.5  # of 10
UNIT = "packaging/systemd/lossd.service"


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def exposure(unit):
    code, text = analyze("security", "--offline=yes", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level.*: ([0-9.]+)", text)
    assert code == 0 and found, text
    return float(found.group(1)), text


def main(root, build):
    if not shutil.which("systemd-analyze"):
        print("unit_test: needs systemd-analyze")
        return 77
    with tempfile.TemporaryDirectory() as work:
        text = pathlib.Path(root, UNIT).read_text()
        unit = pathlib.Path(work, "lossd.service")
        # The program is not installed here.
        unit.write_text(text.replace("/usr/bin/lossd\n", f"{build}/bin/lossd\n"))
        code, said = analyze("verify", "--man=no", str(unit))
        assert code == 0 and "lossd.service" not in said, said
        level, table = exposure(unit)
        assert level <= MOST_EXPOSURE, f"exposure {level}; wanted at most {MOST_EXPOSURE}\n{table}"
        for line in ("CapabilityBoundingSet=", "RestrictNamespaces=yes", "PrivateDevices=yes"):
            assert f"\n{line}\n" in text, f"no {line}"
            unit.write_text(text.replace(f"\n{line}\n", "\n"))
            assert exposure(unit)[0] > level, f"{line} makes no difference: the check sees nothing"
        # Longer than the drain, so that no call is broken off, and no restart of what cannot start.
        stop = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE).group(1))
        assert stop > 125 and "\nRestartPreventExitStatus=2\n" in text
        print(f"exposure {level}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
