"""The C files themselves: banned functions, sizes, layout; and that the scripts parse."""

import ast
import re
import subprocess

from tree import ROOT

# function: what to use instead
BANNED = {
    "strcpy|strcat|stpcpy|strncpy|strncat": "struct buf, or memcpy with a known length",
    "sprintf|vsprintf": "snprintf, or buf_addf",
    "gets": "read with a length",
    "strtok|strtok_r|strsep": "str_find",
    "alloca": "an arena or a fixed buffer",
    "atoi|atol|atoll|atof|sscanf": "str_to_u64",
    "system|popen": "posix_spawn with an argument vector",
    "rand|srand|random|srandom|drand48": "base/rng",
    "localtime|gmtime|ctime|asctime|strerror|inet_ntoa|inet_addr|gethostbyname|getservbyname":
        "the reentrant form",
    "tmpnam|tempnam|mktemp": "mkostemp or O_TMPFILE",
    "setjmp|longjmp|sigsetjmp|siglongjmp": "a return value",
    "assert": "pt_assert",
}
# Ends the process or holds it up: only at the edge.
EDGE_ONLY = {
    "exit|_exit|abort|errx?|warnx?|quick_exit": "return an error",
    "sleep|usleep|nanosleep": "a timer",
}
EDGE = re.compile(r"src/(daemon|cli)/.*|src/base/defs\.c")

FILE_AIM, FILE_MAX = 600, 1000
FUNCTION_AIM, FUNCTION_MAX = 60, 100
PYTHON_COLUMNS = 120


def _calls(names):
    return re.compile(rf"(?<![\w.>])({names})\s*\(")


def banned_functions(tree):
    """Functions that overflow, keep hidden state or end the process are not called."""
    everywhere = [(_calls(names), better) for names, better in BANNED.items()]
    below = [(_calls(names), better) for names, better in EDGE_ONLY.items()]
    for path in tree.matching(r"(src|tools)/.*\.[ch]"):
        rules = everywhere + ([] if EDGE.fullmatch(path) or path.startswith("tools/") else below)
        for number, line in enumerate(tree.code(path).split("\n"), 1):
            for pattern, better in rules:
                if match := pattern.search(line):
                    yield f"{path}:{number}: {match[1]}(): use {better}"


def _functions(tree, path):
    """(first line, name, lines) of each function: its braces stand in column 0."""
    lines = tree.code(path).split("\n")
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line.startswith("}") and start is not None:
            head = " ".join(lines[max(0, start - 4):start])
            names = re.findall(r"(\w+)\s*\(", head)
            yield start + 1, names[-1] if names else "?", i - start - 1
            start = None


def sizes(tree):
    """Files and functions stay small enough to hold in the head."""
    for path in tree.matching(r"(src|tools|tests)/.*\.c"):
        count = tree.text(path).count("\n")
        if count > FILE_MAX:
            yield f"{path}:1: {count} lines, the limit is {FILE_MAX}"
        elif count > FILE_AIM:
            yield f"warning: {path}:1: {count} lines, the aim is {FILE_AIM}"
        for at, name, length in _functions(tree, path):
            if length > FUNCTION_MAX:
                yield f"{path}:{at}: {name}() has {length} lines, the limit is {FUNCTION_MAX}"
            elif length > FUNCTION_AIM:
                yield (f"warning: {path}:{at}: {name}() has {length} lines,"
                       f" the aim is {FUNCTION_AIM}")


def headers(tree):
    """Each header begins with #pragma once and says what it is."""
    for path in tree.matching(r"src/.*\.h"):
        text = tree.text(path)
        if not text.startswith("#pragma once") and not path.endswith(".tbl.h"):
            yield f"{path}:1: no #pragma once in the first line"
        if "/*" not in text:
            yield f"{path}:1: no comment: a header is a contract"
    for path in tree.matching(r"(src|tools|tests)/.*\.[ch]"):
        for number, line in tree.lines(path):
            if re.search(r"\btypedef\s+struct\b", line):
                yield f"{path}:{number}: a struct hidden by a typedef"


def built(tree):
    """Each C file is named by the meson.build of its folder or of one above it."""
    for path in tree.matching(r"(src|tools|tests)/.*\.c"):
        folder, name = path.rsplit("/", 1)
        parts = folder.split("/")
        text = "".join(tree.text(m) for i in range(len(parts) + 1)
                       if (m := "/".join(parts[:i] + ["meson.build"])) in tree.paths)
        # By its name, or by the part of it that a foreach runs over.
        short = re.escape(name[:-2].removeprefix("test_"))
        if not re.search(rf"\b{re.escape(name)}\b|'(?:\w+/)?(?:test_)?{short}'", text):
            yield f"{path}:1: no meson.build names it"


def layout(tree):
    """The layout of C files is that of .clang-format; ./dev fmt mends it."""
    files = tree.matching(r".*\.[ch]")
    halves = [files[0::2], files[1::2]]
    runs = [subprocess.Popen(["clang-format", "--dry-run", "-ferror-limit=1", *half], cwd=ROOT,
                             stderr=subprocess.PIPE, text=True) for half in halves if half]
    seen = set()
    for run in runs:
        for match in re.finditer(r"^([^\s:]+):(\d+):\d+: (?:error|warning)", run.communicate()[1],
                                 re.M):
            if match[1] not in seen:
                seen.add(match[1])
                yield f"{match[1]}:{match[2]}: not laid out by .clang-format"
        if run.returncode != 0 and not seen:
            yield "dev:1: clang-format failed"


def scripts_parse(tree):
    """Shell and Python scripts parse, and use no tabs or trailing space."""
    for path in tree.matching(r"dev|\.ci/run|.*\.sh"):
        run = subprocess.run(["bash", "-n", path], cwd=ROOT, capture_output=True, text=True)
        if run.returncode != 0:
            yield f"{path}:1: {run.stderr.strip()}"
    for path in tree.matching(r".*\.py"):
        try:
            ast.parse(tree.text(path))
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"
    for path in tree.matching(r"dev|.*\.(sh|py|build|md|txt)"):
        for number, line in tree.lines(path):
            if line != line.rstrip():
                yield f"{path}:{number}: space at the end of the line"
            if len(line) > PYTHON_COLUMNS and path.endswith((".sh", ".py")):
                yield f"warning: {path}:{number}: {len(line)} columns"
