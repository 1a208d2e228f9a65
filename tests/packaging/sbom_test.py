#!/usr/bin/python3
"""sbom_test.py ROOT BUILD, or sbom_test.py FILE: a list of CycloneDX is complete and true.

With ROOT and BUILD it is made, twice, from the built programs; FILE is one that is there already.
"""
import copy
import json
import re
import subprocess
import sys
import tempfile

# What lossd certainly has.
SHARED = {"libc6", "libgrpc++1.51", "libhwy1", "libseccomp2", "libssl3", "libstdc++6", "libtbb12"}
COMPILED_IN = {"libcli11-dev", "nlohmann-json3-dev"}


def faults(bom, wanted):
    """What https://cyclonedx.org/docs/1.5/json requires, and that names lead somewhere."""
    if bom.get("bomFormat") != "CycloneDX" or bom.get("specVersion") != "1.5":
        yield "no CycloneDX 1.5"
    if not isinstance(bom.get("version"), int) or bom["version"] < 1:
        yield f"version {bom.get('version')}"
    if not re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                        bom.get("serialNumber", "")):
        yield f"serialNumber {bom.get('serialNumber')}"
    components = [bom.get("metadata", {}).get("component", {}), *bom.get("components", [])]
    for component in components:
        for field in ("type", "name", "version", "bom-ref", "purl"):
            if not component.get(field):
                yield f"{component.get('name')}: no {field}"
        if not re.fullmatch(r"pkg:(generic|deb/debian)/[a-z0-9.%+B-]+@[^@ +]+", component.get("purl", "")):
            yield f"{component.get('name')}: purl {component.get('purl')}"
    refs = [component.get("bom-ref") for component in components]
    if len(set(refs)) != len(refs):
        yield "a bom-ref stands twice"
    for dependency in bom.get("dependencies", []):
        for ref in (dependency["ref"], *dependency["dependsOn"]):
            if ref not in refs:
                yield f"depends on {ref}, which is not there"
    missing = wanted - {component.get("name") for component in components}
    if missing:
        yield f"not listed: {sorted(missing)}"


def self_test(bom, wanted):
    def broken(change):
        copied = copy.deepcopy(bom)
        change(copied)
        return list(faults(copied, wanted))

    assert broken(lambda b: b.pop("bomFormat"))
    assert broken(lambda b: b.update(version="1"))
    assert broken(lambda b: b["components"][0].pop("type"))
    assert broken(lambda b: b["components"].append(b["components"][0]))
    assert broken(lambda b: b["components"].pop(0))
    assert broken(lambda b: b.update(components=[]))


def made(root, build):
    programs = [f"{build}/bin/lossd", f"{build}/bin/lossctl"]
    listed = subprocess.run(["dpkg-query", "--show", "--showformat="
                             r"${Package}\t${Version}\t${Architecture}\t${source:Package}\t"
                             r"${source:Version}\n", *sorted(COMPILED_IN)],
                            check=True, text=True, stdout=subprocess.PIPE).stdout
    with tempfile.NamedTemporaryFile("w") as compiled_in:
        compiled_in.write(listed)
        compiled_in.flush()
        texts = [subprocess.run([f"{root}/scripts/sbom", f"--compiled-in={compiled_in.name}", *programs],
                                check=True, text=True, stdout=subprocess.PIPE).stdout for _ in range(2)]
    assert texts[0] == texts[1], "two lists of the same machine differ"
    return texts[0]


def main(*arguments):
    text = made(*arguments) if len(arguments) == 2 else open(arguments[0], encoding="utf-8").read()
    bom = json.loads(text)
    wanted = SHARED | COMPILED_IN
    found = list(faults(bom, wanted))
    print("\n".join(found) or f"{len(bom['components'])} components")
    if not found:
        self_test(bom, wanted)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
