#!/usr/bin/python3
"""losses_at_home_test.py ROOT: fails where a loss is named in a file that a loss does not touch.

The losses are those of LossSpec in loss.proto. The files they may be named in, and have to be, are those
that docs/development.md lists under "Adding a loss": every file of a step, of the catalogue, the arithmetic
and the oracle one or more. A loss without options needs no row in the test of options. Comments may name losses; so may tests
and documents, everywhere.
"""
import pathlib
import re
import sys

PROTO = "protos/lossd/v1/loss.proto"
DOMAINS = "tests/wire/loss_domains_test.cc"
# Of the files of a step that match, one is enough.
ONE_IS_ENOUGH = {2: "", 3: "", 4: ("tests/support/", "tests/core/")}
PRODUCT = ("client", "core", "examples", "protos", "server")
SUFFIXES = {".cc", ".h", ".proto"}

# The loss that requests and flags have by default, what is said of the outputs of its family, and the
# arithmetic that cross entropy has without a head. What losses are called elsewhere is a table of lossctl's.
ALLOWED = {
    "softmax": {
        "client/lossctl/app.cc",
        "client/lossctl/compute_flags.cc",
        "client/lossctl/bench/bench_flags.cc",
        "client/lossctl/bench/problem.h",
        "core/types/include/lossd/loss_spec.h",
        "core/exec/loss_run.cc",
        "core/types/include/lossd/loss_rows.h",
    },
    # What their metrics are called.
    "policy": {"client/lossctl/report.cc", "client/python/result.cc"},
    "preference": {"client/lossctl/report.cc", "client/python/result.cc"},
}
ALLOWED_TO_ALL = {"client/lossctl/suggestion.cc"}
# It says what is new, in other words.
NOT_REQUIRED = {"CHANGELOG.md"}
# Without a head, so that no file of the arithmetic names it.
HEADLESS = {"softmax"}


def without_comments(text):
    """C++ or proto without its comments; strings stay."""
    pattern = r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/'
    return re.sub(pattern, lambda match: match.group(1) or " ", text, flags=re.S)


def read_losses(proto):
    """Name -> (name of its message, whether it has options)."""
    proto = without_comments(proto)
    spec = proto[proto.index("message LossSpec"):]
    members = re.search(r"oneof loss\s*{(.*?)}", spec, re.S).group(1)
    losses = {}
    for message, name in re.findall(r"(\w+)\s+(\w+)\s*=\s*\d+\s*;", members):
        body = re.search(r"message %s\s*{(.*?)}" % message, proto, re.S).group(1)
        losses[name] = (message, body.strip() != "")
    return losses


def read_steps(document, root):
    """The files of each step."""
    section = re.search(r"^## Adding a loss\n(.*?)(?=^## |\Z)", document, re.S | re.M).group(1)
    steps = {}
    for number, text in re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |\n\n|\Z)", section, re.S | re.M):
        named = re.findall(r"`([\w./-]+\.\w+)`", text)
        steps[int(number)] = [name for name in named if (root / name).is_file()]
    return steps


def names_of(name, message):
    """What the loss is called in code: as it is in the contract, and as its head is."""
    head = re.sub("Loss$", "", message)
    return re.compile(r"\b(?:%s|%s|%s)\b" % (name, message, head))


def betrays(name, message):
    """The same where it can mean nothing else: some losses have the names of everyday words."""
    return re.compile(r'"%s"|\b%s\b|\bstruct %s\b' % (name, message, re.sub("Loss$", "", message)))


def product_files(root):
    for folder in PRODUCT:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path.relative_to(root).as_posix(), path.read_text()


def check(losses, steps, product, read):
    """What is wrong, a line each. read(path) is the text of a file."""
    errors = []
    listed = {file for files in steps.values() for file in files}
    for name, (message, has_options) in losses.items():
        called = names_of(name, message)
        betrayed = betrays(name, message)
        for step, files in sorted(steps.items()):
            required = [file for file in files if file not in NOT_REQUIRED]
            missing = [file for file in required if not called.search(read(file))]
            if step in ONE_IS_ENOUGH:
                group = [file for file in required if file.startswith(ONE_IS_ENOUGH[step])]
                others = [file for file in missing if file not in group]
                found = any(file not in missing for file in group)
                headless = step == 3 and name in HEADLESS
                missing = others + ([] if found or headless or not group else [" or ".join(group)])
            if not has_options:
                missing = [file for file in missing if file != DOMAINS]
            errors += [f"step {step}: {name} is not in {file}" for file in missing]
        allowed = listed | ALLOWED_TO_ALL | ALLOWED.get(name, set())
        for path, text in product:
            match = None if path in allowed else betrayed.search(without_comments(text))
            if match:
                errors.append(f"{path}: {match.group()}, which docs/development.md does not list")
    return errors


def test_itself():
    """That each kind of error is found."""
    proto = """message HuberLoss { double delta = 1; }  message FlatLoss {}
      message LossSpec { oneof loss { HuberLoss huber = 5; // FlatLoss no = 4;
      FlatLoss flat = 6; } }"""
    losses = read_losses(proto)
    assert losses == {"huber": ("HuberLoss", True), "flat": ("FlatLoss", False)}, losses
    steps = {1: [PROTO], 3: ["a-inl.h", "b.h"], 4: [DOMAINS]}
    files = {PROTO: proto, "a-inl.h": "struct Huber {}; Flat f;", "b.h": "", DOMAINS: '"huber"'}

    def errors(product=(), **changed):
        texts = dict(files, **changed)
        return check(losses, steps, list(product), texts.get)

    assert errors() == [], errors()
    assert len(errors(**{DOMAINS: ""})) == 1
    assert len(errors(**{"a-inl.h": "Flat f;"})) == 1
    assert len(errors(**{PROTO: "HuberLoss"})) == 1
    assert errors([("core/x.cc", "// huber\nint huberness; /* FlatLoss */")]) == []
    assert len(errors([("core/x.cc", 'Name("huber")')])) == 1
    assert len(errors([("core/x.cc", "get_if<FlatLoss>")])) == 1
    assert errors([("a-inl.h", "struct Huber")]) == []


def main():
    test_itself()
    root = pathlib.Path(sys.argv[1])
    losses = read_losses((root / PROTO).read_text())
    steps = read_steps((root / "docs/development.md").read_text(), root)
    assert len(losses) >= 3 and len(steps) == 5 and all(steps.values()), (losses, steps)
    errors = check(losses, steps, list(product_files(root)), lambda file: (root / file).read_text())
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
