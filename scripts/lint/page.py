"""What is checked of the console's page (ui/)."""

import re
import subprocess

from tree import ROOT

LINES_MAX = 500
LINES_WARN = 350
# What the policy refuses, or what reads text as markup.
BANNED = {
    "dangerouslySetInnerHTML": "text is only ever text",
    "innerHTML": "text is only ever text",
    "from '@patternfly/react-core'": "import by component, pf/NAME",
    "eval(": "the policy refuses it",
}


def page_types(tree):
    """The page's TypeScript is sound."""
    compiler = ROOT / "ui/node_modules/typescript/bin/tsc"
    if not compiler.is_file():
        yield "ui: TypeScript is not installed: run ./dev lint"
        return
    run = subprocess.run(["node", str(compiler), "-p", "ui", "--pretty", "false"], cwd=ROOT,
                         capture_output=True, text=True)
    if run.returncode:
        yield from run.stdout.splitlines() or [f"ui: tsc ended with {run.returncode}"]


def page_size(tree):
    """The page's first load is small enough, and all of it bundles."""
    run = subprocess.run(["node", "ui/build.mjs"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        yield from (f"ui: {line}" for line in (run.stdout + run.stderr).splitlines())


def page_source(tree):
    """The page's files are short and do nothing that the policy refuses."""
    for path in tree.matching(r"ui/src/.*\.tsx?"):
        lines = tree.text(path).count("\n")
        if lines > LINES_MAX:
            yield f"{path}: {lines} lines, at most {LINES_MAX}: split it"
        elif lines > LINES_WARN:
            yield f"warning: {path}: {lines} lines"
        for number, line in tree.lines(path):
            for text, why in BANNED.items():
                if text in line:
                    yield f"{path}:{number}: {text}: {why}"
            if re.search(r"https?://", line) and "w3.org" not in line:
                yield f"{path}:{number}: the page asks no other host"
