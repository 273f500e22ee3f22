"""The files of the project as the checks see them."""

import re
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""", re.S)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


class Tree:
    """Tracked files and new ones that are not ignored, by path relative to the root."""

    def __init__(self):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        self.paths = sorted(p for p in listed if p and (ROOT / p).is_file())

    def matching(self, pattern):
        return [p for p in self.paths if re.fullmatch(pattern, p)]

    @lru_cache(maxsize=None)
    def text(self, path):
        return (ROOT / path).read_text(errors="replace")

    def lines(self, path):
        """(number, line) for each line."""
        return enumerate(self.text(path).split("\n"), 1)

    @lru_cache(maxsize=None)
    def code(self, path):
        """A C file without comments and the insides of literals; line numbers stay."""
        return _TOKEN.sub(
            lambda m: _blank(m[0]) if m["comment"] else m[0][0] + _blank(m[0][1:-1]) + m[0][-1],
            self.text(path))

    @lru_cache(maxsize=None)
    def comments(self, path):
        """(line number, text) for each comment of a C file."""
        text = self.text(path)
        return [(text.count("\n", 0, m.start()) + 1, m["comment"])
                for m in _TOKEN.finditer(text) if m["comment"]]
