#!/usr/bin/python3
"""hardening_test.py BUILD CXX PROGRAM...: the programs are built so that a fault of memory is no way in.

Three questions. What do the ELF files say (position-independent, relocations read-only before main, no
executable stack, no text relocations, no page that is both writable and executable)? Was every source of
a program compiled with every flag? And do the flags do, with this compiler, what they are there for? For
the last, small sources are compiled with the flags of a source of the server and looked into.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOMS = ("client", "core", "protos", "server")
VARIABLES = "-ftrivial-auto-var-init=pattern"
FLAGS = {"-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection",
         VARIABLES, "-D_FORTIFY_SOURCE=3", "-D_GLIBCXX_ASSERTIONS"}
# A feature -> a source, and what its assembly has only if the feature works.
PROBES = {
    # The size is known at run time only, so levels 1 and 2 do not check this copy.
    "FORTIFY_SOURCE 3": ("#include <cstdlib>\n#include <cstring>\nusing std::size_t;\n"
                         "char* f(const char* from, size_t n, size_t m) {\n"
                         "  char* to = static_cast<char*>(std::malloc(n));\n"
                         "  std::memcpy(to, from, m); return to; }\n", r"__memcpy_chk"),
    "stack protector": ("void fill(char*);\nint f() { char b[64]; fill(b); return b[1]; }\n",
                        r"__stack_chk_fail"),
    # Every page of a large frame is touched in turn.
    "stack clash protection": ("void fill(char*);\nint f() { char b[65536]; fill(b); return b[1]; }\n",
                               r"or[ql]\s+\$0, "),
    "branch targets": ("int f() { return 1; }\n", r"endbr64"),
    "initialized variables": ("void fill(long*);\nvoid f() { long x; fill(&x); }\n",
                              r"\$-72340172838076674"),  # 0xfe in every byte
    "library assertions": ("#include <vector>\nint f(const std::vector<int>& v, int i) "
                           "{ return v[i]; }\n", r"__glibcxx_assert_fail"),
}


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE).stdout


def elf_faults(name, header, segments, dynamic, symbols):
    """`header` ...: what readelf -hW, -lW, -dW and --dyn-syms print."""
    if not re.search(r"Type:\s+DYN ", header) or "PIE" not in dynamic:
        yield f"{name}: not position-independent"
    if "GNU_RELRO" not in segments or not re.search(r"FLAGS.*\b(BIND_)?NOW\b", dynamic):
        yield f"{name}: relocations stay writable"
    if not re.search(r"GNU_STACK .* RW +0x", segments):
        yield f"{name}: its stack is executable"
    if re.search(r"LOAD .* RWE ", segments):
        yield f"{name}: a segment is writable and executable"
    if "TEXTREL" in dynamic:
        yield f"{name}: relocations in its code"
    if re.search(r"\((RPATH|RUNPATH)\)", dynamic):
        yield f"{name}: looks for libraries in {re.search(r'R(UN)?PATH.*', dynamic).group()}"
    for symbol, what in (("__stack_chk_fail", "no stack protector"),
                         (r"__\w+_chk@", "no checked function of the C library"),
                         ("__glibcxx_assert_fail", "no assertions of the C++ library")):
        if not re.search(symbol, symbols):
            yield f"{name}: {what}"


def elf(path):
    return [run("readelf", flag, "-W", path) for flag in ("-h", "-l", "-d", "--dyn-syms")]


def flag_faults(entries):
    for entry in entries:
        words = shlex.split(entry["command"])
        # core/kernels computes on variables it has just set, and pays for setting them twice.
        free = {VARIABLES} if "/core/kernels/" in entry["file"] else set()
        missing = FLAGS - set(words) - free
        last = [word for word in words if word.startswith("-ftrivial-auto-var-init=")][-1:]
        if last != [VARIABLES] and not free:
            missing.add(VARIABLES)
        if missing:
            yield f"{entry['file']}: compiled without {' '.join(sorted(missing))}"


def assembly(compiler, flags, source):
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work, "probe.cc")
        path.write_text(source)
        return run(compiler, *flags, "-S", "-o", "-", str(path))


def probe_faults(compiler, flags):
    for name, (source, wanted) in PROBES.items():
        if not re.search(wanted, assembly(compiler, flags, source)):
            yield f"{name}: {wanted} is not in what {compiler} makes"


def branch_note(path):
    """Whether an object says that indirect branches and returns may be checked (CET)."""
    return "IBT, SHSTK" in run("readelf", "-n", path)


def cet_faults(compiler, build, entries, programs):
    """Ours has the note. A program has it only if all that is linked has: Debian's start files have not."""
    for entry in entries:
        words = shlex.split(entry["command"])
        path = pathlib.Path(build, words[words.index("-o") + 1])
        if path.exists() and not branch_note(str(path)):
            yield f"{path}: no note IBT, SHSTK"
    start = run(compiler, "-print-file-name=Scrt1.o").strip()
    for program in programs:
        if branch_note(start) and not branch_note(program):
            yield f"{program}: no note IBT, SHSTK, although {start} has it"
    print(f"CET: {start} {'has' if branch_note(start) else 'has not'} the note; programs follow it")


def self_test(compiler, flags, program):
    """Each flag that is taken away is missed, and each word of an ELF file that is wrong is seen."""
    weaker = {"FORTIFY_SOURCE 3": "-D_FORTIFY_SOURCE=2", "stack protector": "-fno-stack-protector",
              "stack clash protection": "-fno-stack-clash-protection",
              "branch targets": "-fcf-protection=none",
              "initialized variables": "-ftrivial-auto-var-init=uninitialized",
              "library assertions": "-U_GLIBCXX_ASSERTIONS"}
    for name, flag in weaker.items():
        undefined = ["-U_FORTIFY_SOURCE"] if "FORTIFY" in name else []
        found = [fault.split(":")[0] for fault in probe_faults(compiler, flags + undefined + [flag])]
        assert name in found, f"{name}: not missed with {flag}"
    header, segments, dynamic, symbols = elf(program)
    for broken in ((header.replace("DYN ", "EXEC "), segments, dynamic, symbols),
                   (header, segments.replace("GNU_RELRO", "LOAD"), dynamic, symbols),
                   (header, segments, dynamic.replace("NOW", ""), symbols),
                   (header, re.sub(r"(GNU_STACK .*) RW ", r"\1 RWE", segments), dynamic, symbols),
                   (header, re.sub(r"(LOAD .*) RW  ", r"\1 RWE ", segments), dynamic, symbols),
                   (header, segments, dynamic + "(TEXTREL)", symbols),
                   (header, segments, dynamic, symbols.replace("_chk", ""))):
        assert list(elf_faults(program, *broken)), "a broken ELF file is not seen"
    assert list(flag_faults([{"file": "x", "command": "g++ -c x"}]))


def main(build, compiler, *programs):
    root = pathlib.Path(__file__).resolve().parents[2]
    folders = tuple(f"{root}/{room}/" for room in ROOMS) + (f"{build}/protos/",)
    entries = [entry for entry in json.loads(pathlib.Path(build, "compile_commands.json").read_text())
               if entry["file"].startswith(folders)]
    assert len(entries) > 100, f"only {len(entries)} sources of the programs"
    words = shlex.split(next(e["command"] for e in entries if e["file"].endswith("server/server.cc")))
    flags = [word for word in words[1:words.index("-o")] if word.startswith(("-f", "-O", "-D", "-U"))]
    self_test(compiler, flags, programs[0])
    faults = [*flag_faults(entries), *probe_faults(compiler, flags),
              *cet_faults(compiler, build, entries, programs)]
    for program in programs:
        faults += elf_faults(pathlib.Path(program).name, *elf(program))
    print("\n".join(faults) or f"{len(entries)} sources and {len(programs)} programs are hardened")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
