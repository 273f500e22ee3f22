"""The sum that ./dev test prints counts what really ran."""

import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "test.py")
run_tests = importlib.util.module_from_spec(spec)
sys.modules["run_tests"] = run_tests
spec.loader.exec_module(run_tests)

CMOCKA = """[==========] Running 3 test(s).
[==========] 3 test(s) run.
[  PASSED  ] {} test(s).
"""


def count(result, output):
    found = run_tests.count_meson_test({"result": result, "stdout": output})
    return found.passed, found.failed, found.skipped


class Counting(unittest.TestCase):
    def test_cmocka(self):
        self.assertEqual(count("OK", CMOCKA.format(3)), (3, 0, 0))
        self.assertEqual(count("OK", CMOCKA.format(3) * 2), (6, 0, 0))
        listed = "[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] a_test\n\n 1 FAILED TEST(S)\n"
        self.assertEqual(count("FAIL", CMOCKA.format(2) + listed), (2, 1, 0))
        skipped = "[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] a_test\n"
        self.assertEqual(count("OK", CMOCKA.format(2) + skipped), (2, 0, 1))

    def test_a_crash_is_a_failure_whatever_passed_before(self):
        self.assertEqual(count("FAIL", "[       OK ] a_test\n"), (0, 1, 0))
        self.assertEqual(count("TIMEOUT", ""), (0, 1, 0))
        self.assertEqual(count("ERROR", CMOCKA.format(3)), (3, 1, 0))  # a leak, told at the end

    def test_programs_without_tests_inside_count_as_one(self):
        self.assertEqual(count("OK", "20000 crashes\n"), (1, 0, 0))
        self.assertEqual(count("SKIP", ""), (0, 0, 1))

    def test_unittest(self):
        self.assertEqual(count("OK", "Ran 7 tests in 0.1s\n\nOK\n"), (7, 0, 0))
        self.assertEqual(count("FAIL", "Ran 7 tests in 0.1s\n\nFAILED (failures=2)\n"), (0, 1, 0))

    def test_a_second_look(self):
        def result(*alone, output=""):
            failed = [run_tests.Second(f"t{n}", run_tests.COULD_NOT_RUN, lambda c=c: c)
                      for n, c in enumerate(alone)]
            return run_tests.Result("e2e", run_tests.Count(7, len(alone)), 1.0, output, failed)

        good, bad = run_tests.Count(passed=1), run_tests.Count(failed=1)
        mixed = result(good, bad)
        run_tests.look_again(mixed)
        self.assertEqual((str(mixed.count), mixed.unsteady), ("8 passed, 1 failed, 0 skipped", ["t0"]))
        self.assertTrue(run_tests.SANITIZER.search("==1==ERROR: AddressSanitizer: heap-use"))
        self.assertTrue(run_tests.SANITIZER.search("WARNING: ThreadSanitizer: data race"))
        self.assertTrue(run_tests.SANITIZER.search("a.c:3:4: runtime error: shift exponent"))
        self.assertFalse(run_tests.SANITIZER.search("AssertionError: 1 != 2"))

    def test_failed_tests_by_their_names(self):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as junit:
            junit.write('<testsuites><testsuite><testcase classname="test_a" name="good"/>'
                        '<testcase classname="test_a" name="bad[1-x]"><failure/></testcase>'
                        '<testcase classname="test_b" name="worse"><error/></testcase>'
                        '</testsuite></testsuites>')
            junit.flush()
            self.assertEqual(run_tests.failed_nodes(junit.name, "tests/e2e"),
                             ["tests/e2e/test_a.py::bad[1-x]", "tests/e2e/test_b.py::worse"])

    def test_the_sum(self):
        total = run_tests.Count(3, 0, 1) + run_tests.COULD_NOT_RUN
        self.assertEqual(str(total), "3 passed, 1 failed, 1 skipped")

    def test_a_failed_step_is_shown_without_the_others(self):
        log = Path(__file__).with_name("ninja.log")
        shown = run_tests.ninja_failures(log)
        self.assertIn("a.c:3: error: no such thing", shown)
        self.assertNotIn("b.c.o", shown)
        self.assertNotIn("subcommand failed", shown)


if __name__ == "__main__":
    unittest.main()
