#!/usr/bin/python3
"""The packed corpora: tests/fuzz/corpus/TARGET/packed.hex.

  corpus.py unpack TARGET_DIR SCRATCH   every input of a corpus as a file, as libFuzzer wants it
  corpus.py pack SCRATCH TARGET_DIR     packs the files of SCRATCH that bear no name
  corpus.py check TARGET_DIR...         fails for a corpus that is not as `pack` would write it

An input that is named for what it shows is a file of its own in TARGET_DIR. Every other input is a line
of packed.hex, its bytes in hexadecimal, after a first line that says how many there are; the lines are
sorted. In SCRATCH such an input is a file named as libFuzzer names it, for the SHA-1 of its bytes.
"""
import hashlib
import pathlib
import re
import shutil
import sys
import tempfile

PACKED = "packed.hex"
UNNAMED = re.compile(r"[0-9a-f]{40}")


def packed_text(inputs):
    lines = sorted(data.hex() for data in inputs)
    return "".join(line + "\n" for line in [f"# {len(lines)} inputs", *lines])


def read_packed(path):
    """The inputs of a packed.hex. Ends the program where the first line is not true."""
    if not path.exists():
        return []
    head, *lines = path.read_text().splitlines()
    if head != f"# {len(lines)} inputs":
        sys.exit(f"{path}: the first line is {head!r}, and {len(lines)} inputs follow")
    return [bytes.fromhex(line) for line in lines]


def named_files(corpus):
    return [path for path in sorted(corpus.iterdir()) if path.name != PACKED]


def unpack(corpus, scratch):
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for data in read_packed(corpus / PACKED):
        (scratch / hashlib.sha1(data).hexdigest()).write_bytes(data)
    for path in named_files(corpus):
        shutil.copy(path, scratch / path.name)


def pack(scratch, corpus):
    inputs = {path.read_bytes() for path in scratch.iterdir() if UNNAMED.fullmatch(path.name)}
    inputs -= {path.read_bytes() for path in named_files(corpus)}
    if inputs:
        (corpus / PACKED).write_text(packed_text(inputs))


def check(corpus):
    """There and back again, nothing may change; what is packed may not be there by name too."""
    path = corpus / PACKED
    inputs = read_packed(path)
    if not inputs and not named_files(corpus):
        sys.exit(f"{corpus}: no inputs")
    with tempfile.TemporaryDirectory() as scratch:
        unpack(corpus, pathlib.Path(scratch, "unpacked"))
        (pathlib.Path(scratch) / "packed").mkdir()
        for named in named_files(corpus):
            if UNNAMED.fullmatch(named.name):
                sys.exit(f"{named}: has no name; wanted it in {PACKED}")
            shutil.copy(named, pathlib.Path(scratch, "packed"))
        pack(pathlib.Path(scratch, "unpacked"), pathlib.Path(scratch, "packed"))
        again = pathlib.Path(scratch, "packed", PACKED)
        if path.exists() and (not again.exists() or again.read_bytes() != path.read_bytes()):
            sys.exit(f"{path}: not as corpus.py pack writes it (sorted, each input once)")
    print(f"{corpus.name}: {len(inputs)} packed, {len(named_files(corpus))} named")


def main(action, *paths):
    paths = [pathlib.Path(path) for path in paths]
    if action == "unpack":
        unpack(*paths)
    elif action == "pack":
        pack(*paths)
    elif action == "check" and paths:
        for path in paths:
            check(path)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
