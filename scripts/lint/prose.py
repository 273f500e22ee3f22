"""Comments and documents: references that lead somewhere, and nothing about one's own machine."""

import re

from tree import ROOT

RFC_TABLE = "docs/rfc.tsv"
# "RFC 5321 4.5.3.1", "RFC 5321 section 4.4", "RFC 3720 appendix B.4", "RFC 2920"
RFC = re.compile(
    r"\bRFC[ -]?(\d{3,5})(?:,?\s+(?:[*]\s*)?(?:section\s+|sections\s+|§)?"
    r"(\d+(?:\.\d+)+|(?<=section )\d+|(?<=§)\d+)|\s+(?:[*]\s*)?appendix\s+([A-Z](?:\.\d+)*))?")

ROOM_README_LINES = 60
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")

# Written so that this file does not match itself.
PLACES = re.compile(
    r"(?<![\w.])/(?:home|root|wor[k]|Users)/[\w.]|/tmp/w[t]\b"
    r"|registry\.npmj[s]|registry\.yarnpk[g]|(?:deb|security)\.debia[n]\.org"
    r"|pypi\.or[g]|pythonhosted\.or[g]|proxy\.golan[g]")


def _rfc_table(tree):
    """(RFC, section) pairs; the section is "" for the document as a whole."""
    known = set()
    for _, line in tree.lines(RFC_TABLE):
        if line and not line.startswith("#"):
            number, section, _ = line.split("\t")
            known.add((number, section))
    return known


def rfc_references(tree):
    """Each RFC and section named in a comment stands in docs/rfc.tsv."""
    known = _rfc_table(tree)
    for path in tree.matching(r"(src|tools|tests)/.*\.[ch]"):
        for at, comment in tree.comments(path):
            for match in RFC.finditer(re.sub(r"\n\s*\*\s?", "\n", comment)):
                number, section = match[1], match[2] or match[3] or ""
                if (number, section) not in known:
                    where = at + comment[:match.start()].count("\n")
                    what = f"RFC {number} {section}".strip()
                    yield f"{path}:{where}: {what} is not in {RFC_TABLE}"


def readmes(tree):
    """Each room has a README of at most a screen."""
    for room in sorted({p.split("/")[1] for p in tree.matching(r"src/\w+/.*\.[ch]")}):
        path = f"src/{room}/README.md"
        if path not in tree.paths:
            yield f"src/{room}: no README.md"
        elif (count := tree.text(path).count("\n")) > ROOM_README_LINES:
            yield f"{path}:1: {count} lines, a screen is {ROOM_README_LINES}"


def links(tree):
    """Links in documents lead to a file that is there."""
    for path in tree.matching(r".*\.md"):
        folder = (ROOT / path).parent
        for number, line in tree.lines(path):
            for target in LINK.findall(line):
                file = target.split("#")[0]
                if file and not re.match(r"[a-z]+:", file) and not (folder / file).exists():
                    yield f"{path}:{number}: {target} is not there"


def places(tree):
    """No path of a developer's own machine and no host of a package registry."""
    for path in tree.paths:
        for number, line in tree.lines(path):
            if match := PLACES.search(line):
                yield f"{path}:{number}: {match[0]}"


def lock_file(tree):
    """The npm lock names packages and sums, and no host to take them from."""
    for path in tree.matching(r"(.*/)?package-lock\.json"):
        for number, line in tree.lines(path):
            if '"resolved"' in line:
                yield f"{path}:{number}: a resolved address (see .npmrc)"
