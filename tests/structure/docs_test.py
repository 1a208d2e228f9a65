#!/usr/bin/python3
"""docs_test.py ROOT: every link of the documents leads somewhere, and every page of docs/ is in its index.

A relative link leads to a file, and to a heading of it where it names one. docs/README.md links every page
of docs/ once, and docs/adr, whose pages it does not name one by one, once. Exits with 77 where the tree is
not whole: the image of the tests has no files that begin with a dot and none that only readers need.
"""
import pathlib
import re
import sys

DOCUMENTS = ("*.md", "docs/**/*.md", "client/python/README.md")
INDEX = "docs/README.md"


def prose(text):
    """The text without its blocks and spans of code, where brackets mean something else."""
    text = re.sub(r"^(`{3,})[^\n]*\n.*?^\1`*$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)(?:(?!\n\n)[^`])+\1", "code", text)


def links(text):
    """Targets of links and pictures, those of other sites left out."""
    found = re.findall(r"\]\(<?([^)\s>]+)[^)]*\)|\b(?:href|src)=\"([^\"]+)\"", prose(text))
    return [link for pair in found for link in pair if link and not re.match(r"[a-z]+:", link)]


def anchors(text):
    """What the headings are linked by: lower case, hyphens for blanks, repeated ones numbered."""
    found = {}
    text = re.sub(r"^(`{3,})[^\n]*\n.*?^\1`*$", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
    return {anchor if n == 0 else f"{anchor}-{n}" for anchor, last in found.items() for n in range(last + 1)}


def broken_links(page, text, read):
    """What is wrong with the links of a page. read(path): the text of a file, "" of a folder, None of none."""
    errors = []
    for link in links(text):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        there = text if not file else read(target)
        if there is None:
            errors.append(f"{page}: {link} leads nowhere")
        elif anchor and anchor not in anchors(there):
            errors.append(f"{page}: {link}: there is no such heading")
    return errors


def wrong_index(listed, pages):
    """What is wrong with the links of the index to pages of its folder, and to the folder adr."""
    errors = [f"{INDEX}: {page} is linked {listed.count(page)} times; wanted once"
              for page in sorted({*pages, "adr"}) if listed.count(page) != 1]
    return errors + [f"{INDEX}: {page} is a record; wanted the folder alone"
                     for page in listed if page.startswith("adr/")]


def test_itself():
    """That each kind of error is found."""
    root = pathlib.Path("/r")
    text = "# A `b` c-d, e\n## Twice\n## Twice\n```sh\n# no heading\n[x](gone)\n```\n"
    assert anchors(text) == {"a-b-c-d-e", "twice", "twice-1"}, anchors(text)
    files = {root / "there.md": text, root / "folder": ""}

    def errors(link):
        return len(broken_links(root / "page.md", f"# Own\n{link}", files.get))

    for right in ("[a](there.md)", "[a](there.md#twice-1)", "[a](folder)", "[a](#own)", "`[a](gone)`", "`a\n[a](gone)`",
                  "[a](https://example.org/gone)", "![a](there.md)", "[a](sub/../there.md)"):
        assert errors(right) == 0, right
    for wrong in ("[a](gone.md)", "[a](there.md#thrice)", "[a](#there)", "![a](gone.svg)",
                  '<img src="gone.svg">', "[a\nb](gone.md)", "[a](gone.md 'title')"):
        assert errors(wrong) == 1, wrong
    assert wrong_index(["a.md", "adr"], ["a.md"]) == []
    assert len(wrong_index(["a.md", "a.md", "adr"], ["a.md"])) == 1
    assert len(wrong_index(["adr"], ["a.md"])) == 1
    assert len(wrong_index(["a.md"], ["a.md"])) == 1
    assert len(wrong_index(["a.md", "adr", "adr/001.md"], ["a.md"])) == 1


def main():
    test_itself()
    root = pathlib.Path(sys.argv[1]).resolve()
    if not (root / ".gitignore").is_file():
        print("the links of the documents are not checked: the tree is not whole")
        return 77
    pages = sorted({page for pattern in DOCUMENTS for page in root.glob(pattern)})
    assert len(pages) > 20, f"{len(pages)} documents; are the patterns still right?"

    def read(path):
        if path.is_dir():
            return ""
        return path.read_text() if path.suffix == ".md" and path.is_file() else "" if path.is_file() else None

    errors = [error for page in pages for error in broken_links(page, page.read_text(), read)]
    index = root / INDEX
    listed = [link.removesuffix("/") for link in links(index.read_text()) if not link.startswith(("..", "#"))]
    own = [page.name for page in index.parent.glob("*.md") if page != index]
    errors += wrong_index([link for link in listed if link.endswith(".md") or link == "adr"], own)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
