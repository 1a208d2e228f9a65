#!/usr/bin/python3
"""readme_test.py ROOT BIN: does what README.md says.

Every command of its sh blocks is run, or is one of those that another test runs. Addresses and files
outside the tree are replaced by places nobody else uses. Where a json block follows a command that
prints JSON, the two are compared. It has at most 150 lines.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

RUN_ELSEWHERE = {
    "scripts/demo": "test `demo`",
    "scripts/test": "whoever runs this",
    "scripts/build": "whoever runs this",
    "cmake --install build/release --prefix /opt/lossd": "test `consumer`",
}


def commands(readme):
    for block in re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL):
        yield from filter(None, block.replace("\\\n", " ").split("\n"))


def run(command, root, bin_dir, work):
    """Runs one command; a server (a command with a final &) is started and returned."""
    socket = f"unix:{work}/socket"
    words = command.replace("/tmp/", f"{work}/").replace("127.0.0.1:50151", socket).split()
    background = words[-1] == "&"
    words = [re.sub("^build/release/bin", bin_dir, word) for word in words[:-1 if background else None]]
    if background:
        server = subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True)
        line = server.stdout.readline()
        assert line.startswith("lossd: listening on "), f"{command}: printed {line!r}"
        return server, ""
    done = subprocess.run(words, cwd=root, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}"
    return None, done.stdout


def main(root, bin_dir):
    readme = pathlib.Path(root, "README.md").read_text()
    wanted = [json.loads(text) for text in
              re.findall(r"^```json\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)]
    assert readme.count("\n") <= 150, f"README.md has {readme.count(chr(10))} lines; wanted at most 150"
    servers, printed, ran = [], [], 0
    with tempfile.TemporaryDirectory() as work:
        try:
            for command in commands(readme):
                if command in RUN_ELSEWHERE:
                    program = command.split()[0]
                    assert "/" not in program or os.access(f"{root}/{program}", os.X_OK), program
                    continue
                server, output = run(command, root, bin_dir, work)
                servers += [server] if server else []
                if output.startswith("{"):
                    printed.append(json.loads(output))
                ran += 1
        finally:
            for server in servers:
                server.terminate()
                assert server.wait(timeout=30) == 0, "the server did not end with 0"
    assert ran >= 3, f"{ran} commands run; is the pattern still right?"
    assert wanted and printed == wanted, f"README.md says {wanted}; printed was {printed}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
