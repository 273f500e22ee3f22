"""./dev test: builds and runs every kind of test, and sums them up in the last line.

Two lanes share the machine: one builds and runs what needs a processor, the other runs the
end-to-end tests, which mostly wait. A part that cannot be run counts as a failure, never as
skipped. What fails is shown with its output; everything is kept under .dev/test/.

Where no more than a few tests of a part failed, each gets a second look when nothing else runs
(docs/decisions/0018): failing again it is a failure, passing it is named as unsteady.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".dev" / "test"
PYTHON = "/usr/bin/python3"
PARTS = ("unit", "sim", "fuzz", "asan", "tsan", "e2e", "e2e-asan", "browser", "lint")

BUILDS = {
    "build": [],
    "build-asan": ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1"],
    "build-tsan": ["-Db_sanitize=thread", "-Db_lundef=false", "-Doptimization=1"],
}
# The suites of each part that Meson runs, in which build.
MESON_PARTS = {
    "unit": ("build", ["unit"]),
    "sim": ("build", ["sim"]),
    "fuzz": ("build", ["fuzz"]),
    "asan": ("build-asan", ["unit", "sim", "fuzz"]),
    "tsan": ("build-tsan", ["unit", "threads"]),
}
# Seconds. What hangs is ended, and is a failure.
BUILD_LIMIT = 900
MESON_LIMIT = 900
E2E_LIMIT = 1800
FEW = 5  # tests of a part that get a second look; more of them failing is no accident

ENVIRONMENT = os.environ | {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:strict_string_checks=1"
                    ":detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:second_deadlock_stack=1",
    # Subtests are counted from cmocka's own text.
    "CMOCKA_MESSAGE_OUTPUT": "STDOUT",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed,
                     self.skipped + other.skipped)

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass
class Second:
    """A test that failed, and how to run it alone: a function that returns its new count."""
    name: str
    first: Count
    run: Callable[[], Count]


@dataclass
class Result:
    part: str
    count: Count
    seconds: float
    output: str = ""  # what is worth showing: failures
    failed: list[Second] = field(default_factory=list)  # those that can be run again
    unsteady: list[str] = field(default_factory=list)  # passed when they were


COULD_NOT_RUN = Count(failed=1)


# ---- running commands ----

running = set()
running_lock = threading.Lock()


def run(command, log, limit, environment=ENVIRONMENT):
    """Runs in a process group of its own, output to the file `log`; the exit code, or None when
    the limit ended it."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, env=environment,
                                   start_new_session=True)
        with running_lock:
            running.add(process)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            out.write(f"\n(ended after {limit} s)\n".encode())
            return None
        finally:
            end_group(process)
            with running_lock:
                running.discard(process)


def end_group(process):
    """Nothing that a test started outlives it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def interrupted(number, frame):
    with running_lock:
        for process in list(running):
            end_group(process)
    os._exit(128 + number)


def tail(path, lines=80):
    try:
        text = Path(path).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "(no output)"
    cut = [f"(first {len(text) - lines} lines are in {path})"] if len(text) > lines else []
    return "\n".join(cut + text[-lines:])


started = time.monotonic()


def progress(text):
    print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True)


# ---- building ----

class BuildFailed(Exception):
    pass


def ninja_failures(log):
    """What Ninja says of the steps that failed, without those that did not."""
    text = log.read_text(errors="replace")
    failed = re.findall(r"^FAILED: .*?(?=^\[\d+/\d+\] |^ninja: |\Z)", text, re.M | re.S)
    return "\n".join(failed) if failed else tail(log)


def build(folder):
    """Everything of one build, configured first where it is new."""
    at = time.monotonic()
    log = KEPT / f"{folder}.log"
    configured = (ROOT / folder / "build.ninja").exists()
    command = [folder, *BUILDS[folder]]
    note = ROOT / folder / ".dev-options"  # as configure() in ./dev
    if not configured or (note.exists() and note.read_text() != " ".join(command) + "\n"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
        if run(["meson", "setup", *command], log, BUILD_LIMIT) != 0:
            raise BuildFailed(f"cannot configure {folder}:\n{tail(log)}")
        note.write_text(" ".join(command) + "\n")
    if run(["ninja", "-C", folder], log, BUILD_LIMIT) != 0:
        raise BuildFailed(f"cannot build {folder}:\n{ninja_failures(log)}")
    progress(f"{folder} built in {time.monotonic() - at:.0f} s")


# ---- Meson's tests ----

CMOCKA_LINES = {
    "passed": re.compile(r"^\[  PASSED  \] (\d+) test", re.M),
    "failed": re.compile(r"^\[  FAILED  \] (\d+) test", re.M),
    "skipped": re.compile(r"^\[  SKIPPED \] (\d+) test", re.M),
}
UNITTEST_LINE = re.compile(r"^Ran (\d+) tests? in", re.M)


GOOD = ("OK", "SKIP", "EXPECTEDFAIL")
# What a sanitizer has seen once is there.
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|: runtime error: ")


def count_meson_test(test):
    """The tests inside one executable, by the closing lines of cmocka or Python's unittest; where
    there are none, one."""
    output = test.get("stdout", "") + test.get("stderr", "")
    found = {kind: sum(map(int, line.findall(output))) for kind, line in CMOCKA_LINES.items()}
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    if good and (ran := UNITTEST_LINE.search(output)):
        return Count(passed=int(ran[1]))
    if not any(found.values()):
        if test["result"] == "SKIP":
            return Count(skipped=1)
        return Count(passed=1) if good else Count(failed=1)
    count = Count(**found)
    if not good and count.failed == 0:
        count.failed = 1  # a crash, a leak or a time limit after or between the tests
    return count


def show_meson_test(test):
    output = (test.get("stdout", "") + test.get("stderr", "")).splitlines()
    return "\n".join([f"--- {test['name']}: {test['result']}", f"    {' '.join(test['command'])}",
                      *output[-100:]])


def wrapper(folder):
    """ThreadSanitizer's fixed address layout does not go with much randomisation."""
    command = ["setarch", "-R"]
    if folder == "build-tsan" and shutil.which("setarch") and \
            subprocess.run([*command, "true"], capture_output=True).returncode == 0:
        return ["--wrapper", " ".join(command)]
    return []


def run_meson(part):
    folder, suites = MESON_PARTS[part]
    log = KEPT / f"{part}.log"
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--logbase", part, *wrapper(folder)]
    for suite in suites:
        command += ["--suite", suite]
    if folder != "build":
        command += ["--timeout-multiplier", "6"]
    results = ROOT / folder / "meson-logs" / f"{part}{'-setarch' if wrapper(folder) else ''}.json"
    results.unlink(missing_ok=True)
    code = run(command, log, MESON_LIMIT)
    tests = []
    if results.exists():
        tests = [json.loads(line) for line in results.read_text().splitlines() if line.strip()]
    if not tests:
        return COULD_NOT_RUN, f"no test of this kind ran (exit code {code})\n{tail(log)}"
    count = sum(map(count_meson_test, tests), Count())
    bad = [t for t in tests if t["result"] not in GOOD]
    if code != 0 and not bad:
        return count + COULD_NOT_RUN, tail(log)
    return count, "\n".join(map(show_meson_test, bad)), [
        Second(t["name"], count_meson_test(t), lambda t=t: meson_again(command, results, t))
        for t in bad]


def meson_again(command, results, test):
    """`command` ran all of them; "project:suite / name" is how Meson calls this one."""
    at = command.index("--suite")
    results.unlink(missing_ok=True)
    run(command[:at] + [test["name"].rsplit(" / ", 1)[-1]] + command[at:], KEPT / "again.log",
        MESON_LIMIT)
    if not results.exists():
        return COULD_NOT_RUN
    return sum((count_meson_test(json.loads(line)) for line in results.read_text().splitlines()),
               Count())


# ---- pytest ----

def as_root(command, environment):
    """Some end-to-end tests make network namespaces or run a Postfix of their own. Where sudo asks
    for no password it is used; else those tests fail and say why."""
    if os.geteuid() == 0 or not shutil.which("sudo") or \
            subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode != 0:
        return command
    kept = [name for name in environment if name.endswith("_OPTIONS") or name.startswith("POSTERN_")]
    return ["sudo", "-n", f"--preserve-env={','.join(kept)},PYTHONDONTWRITEBYTECODE", *command]


def run_pytest(part):
    """The end-to-end tests; for the sanitized program those that are marked for it."""
    log = KEPT / f"{part}.log"
    junit = KEPT / f"{part}.xml"
    junit.unlink(missing_ok=True)
    folder = "build-asan" if part == "e2e-asan" else "build"
    command = [PYTHON, "-m", "pytest", "tests/e2e", "-q", "--tb=short", "-ra",
               "-p", "no:cacheprovider", "-n", "2", f"--junitxml={junit}"]
    if part == "e2e-asan":
        command += ["-m", "asan"]
    environment = ENVIRONMENT | {"POSTERN_BINARY": str(ROOT / folder / "postern")}
    code = run(as_root(command, environment), log, E2E_LIMIT, environment)
    if code not in (0, 1) or not junit.exists():
        return COULD_NOT_RUN, f"pytest could not run (exit code {code})\n{tail(log)}"
    count = Count()
    for suite in ElementTree.parse(junit).getroot().iter("testsuite"):
        number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        failed = number["failures"] + number["errors"]
        count += Count(number["tests"] - failed - number["skipped"], failed, number["skipped"])
    if count.passed + count.failed == 0:
        return count + COULD_NOT_RUN, f"no end-to-end test ran\n{tail(log)}"
    if code != 0 and count.failed == 0:
        count += COULD_NOT_RUN
    if code == 0:
        return count, ""
    return count, tail(log, 200), [
        Second(node, COULD_NOT_RUN, lambda node=node: pytest_again(node, environment))
        for node in failed_nodes(junit, "tests/e2e")]


def failed_nodes(junit, folder):
    """As pytest names them on its command line; in the file they are relative to its pytest.ini."""
    return [f"{folder}/{case.get('classname').replace('.', '/')}.py::{case.get('name')}"
            for case in ElementTree.parse(junit).getroot().iter("testcase")
            if case.find("failure") is not None or case.find("error") is not None]


def pytest_again(node, environment):
    command = [PYTHON, "-m", "pytest", node, "-q", "--tb=short", "-p", "no:cacheprovider"]
    code = run(as_root(command, environment), KEPT / "again.log", E2E_LIMIT, environment)
    return Count(passed=1) if code == 0 else Count(failed=1)


# ---- the browser ----

def run_browser(part):
    """The console's page in Chromium, against the real program. A file is run again as a whole."""
    files = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests" / "browser").glob("*.test.mjs"))
    environment = ENVIRONMENT | {"POSTERN_BINARY": str(ROOT / "build" / "postern")}
    command = ["node", "--test", "--test-reporter=tap"]
    count, bad = Count(), []
    for file in files:
        log = KEPT / f"{part}-{Path(file).name}.log"
        code = run([*command, file], log, E2E_LIMIT, environment)
        text = log.read_text(errors="replace")
        found = {kind: int(number) for kind, number in
                 re.findall(r"^# (pass|fail|cancelled|skipped) (\d+)$", text, re.M)}
        one = Count(found.get("pass", 0), found.get("fail", 0) + found.get("cancelled", 0),
                    found.get("skipped", 0))
        if one.passed + one.failed == 0 or (code != 0 and one.failed == 0):
            one += COULD_NOT_RUN
        count += one
        if one.failed:
            bad.append((file, one, tail(log, 200)))
    if not files:
        return COULD_NOT_RUN, "there are no browser tests"

    def again(file):
        return Count(passed=1) if run([*command, file], KEPT / "again.log", E2E_LIMIT,
                                      environment) == 0 else Count(failed=1)
    return count, "\n".join(text for _, _, text in bad), [
        Second(file, Count(failed=one.failed), lambda file=file: again(file))
        for file, one, _ in bad]


# ---- lint ----

def run_lint(part):
    log = KEPT / "lint.log"
    code = run([PYTHON, "scripts/lint"], log, 300)
    text = log.read_text(errors="replace")
    match = re.search(r"^(\d+) passed, (\d+) failed$", text, re.M)
    if not match or (code != 0) != (match[2] != "0"):
        return COULD_NOT_RUN, tail(log)
    return Count(int(match[1]), int(match[2])), text if code != 0 else ""


# ---- the two lanes ----

def build_of(part):
    if part in MESON_PARTS:
        return MESON_PARTS[part][0]
    return {"e2e": "build", "browser": "build", "e2e-asan": "build-asan"}.get(part)


class Run:
    def __init__(self, parts):
        self.parts = parts
        self.results = {}
        self.builds = {f: threading.Event() for f in BUILDS}
        self.failures = {}
        self.lock = threading.Lock()

    def note(self, part, at, count, output, failed=()):
        result = Result(part, count, time.monotonic() - at, output, list(failed))
        with self.lock:
            self.results[part] = result
            progress(f"{part}: {count}")

    def run_part(self, part):
        at = time.monotonic()
        folder = build_of(part)
        try:
            if folder:
                self.builds[folder].wait()
                if folder in self.failures:
                    raise BuildFailed(self.failures[folder])
            runner = run_meson if part in MESON_PARTS else \
                run_lint if part == "lint" else run_browser if part == "browser" else run_pytest
            self.note(part, at, *runner(part))
        except BuildFailed as failure:
            self.note(part, at, COULD_NOT_RUN, str(failure))
        except Exception as error:  # a bug in here must not look like success
            self.note(part, at, COULD_NOT_RUN, f"{type(error).__name__}: {error}")

    def build_and_compute(self):
        """The first lane: build after build, each followed by the parts that Meson runs in it."""
        for folder in BUILDS:
            mine = [p for p in self.parts if build_of(p) == folder]
            if not mine:
                continue
            try:
                build(folder)
            except BuildFailed as failure:
                self.failures[folder] = str(failure)
            self.builds[folder].set()
            for part in mine:
                if part in MESON_PARTS:
                    self.run_part(part)

    def run(self):
        first = threading.Thread(target=self.build_and_compute)
        first.start()
        for part in ("lint", "e2e", "e2e-asan", "browser"):
            if part in self.parts:
                self.run_part(part)
        first.join()
        for result in self.results.values():
            if 0 < len(result.failed) <= FEW and not SANITIZER.search(result.output):
                look_again(result)


def look_again(result):
    """Nothing else runs by now: what fails again is not for want of a processor."""
    for second in result.failed:
        count = second.run()
        progress(f"{result.part}: {second.name} alone: {count}")
        if count.failed or not count.passed:
            continue
        result.count = Count(result.count.passed - second.first.passed + count.passed,
                             result.count.failed - second.first.failed, result.count.skipped)
        result.unsteady.append(second.name)


def main(arguments):
    global started
    started = time.monotonic()
    parts = arguments or PARTS
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        print(f"dev: no such part: {' '.join(unknown)}; there are: {' '.join(PARTS)}",
              file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    KEPT.mkdir(parents=True, exist_ok=True)
    whole = Run([p for p in PARTS if p in parts])
    whole.run()

    results = [whole.results[p] for p in whole.parts]
    for result in results:
        if result.count.failed or result.unsteady:
            print(f"\n=== {result.part} ===\n{result.output}")
    print()
    for result in results:
        for name in result.unsteady:
            print(f"unsteady: {name} ({result.part}) failed among the others, passed alone")
    for result in results:
        print(f"{result.part:10s} {result.seconds:6.1f} s   {result.count}")
    total = sum((r.count for r in results), Count())
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
