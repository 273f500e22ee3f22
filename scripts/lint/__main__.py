"""./dev lint: what the compiler cannot check. Exit 1 when anything is found.

Each check is a function that takes the Tree and yields findings, "file:line: what is wrong".
A finding that starts with "warning: " is shown and does not fail the check.
"""

import sys

import page
import prose
import rooms
import source
from tree import Tree

CHECKS = [
    rooms.borders,
    rooms.libraries,
    rooms.purity,
    rooms.table_is_true,
    source.banned_functions,
    source.sizes,
    source.headers,
    source.built,
    source.layout,
    source.scripts_parse,
    prose.rfc_references,
    prose.readmes,
    prose.links,
    prose.places,
    prose.lock_file,
    page.page_types,
    page.page_size,
    page.page_source,
]


def main():
    tree = Tree()
    passed = failed = 0
    for check in CHECKS:
        findings = list(check(tree))
        errors = [f for f in findings if not f.startswith("warning: ")]
        for finding in findings:
            print(finding)
        if errors:
            failed += 1
            print(f"FAILED {check.__module__}.{check.__name__}: {check.__doc__.splitlines()[0]}")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
