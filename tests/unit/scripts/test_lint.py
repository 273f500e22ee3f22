"""Each check of ./dev lint finds what it is there to find, and lets the like of it pass."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "lint"))
sys.dont_write_bytecode = True

import prose  # noqa: E402
import rooms  # noqa: E402
import source  # noqa: E402
from tree import Tree  # noqa: E402

TABLE = """
| room | holds | may include |
|---|---|---|
| base | octets | libc only |
| net | loop | base |
| smtp | protocol | base, `net/addr.h` and `net/entry.h` only |
| mime | headers | base, smtp (values, not machines) |
| http | server | base, net |
| settings | store | base, `net/addr.h` only |
| gateway | sessions | all rooms above except http |
| relay | routes | all rooms above except http, gateway |
| api | resources | base, net, http, settings, and `*_view.h` of the rooms above |
| daemon | wiring | everything; included by nobody |

Values of smtp: `reply.h`,
`address.h`.
"""


class Files(Tree):
    """A tree of files that exist only here."""

    def __init__(self, files):
        self.files = {"ARCHITECTURE.md": TABLE, "docs/rfc.tsv": "# comment\n"} | files
        self.paths = sorted(self.files)

    def text(self, path):
        return self.files[path]


def found(check, path, text, **others):
    return list(check(Files({path: text} | others)))


class Rooms(unittest.TestCase):
    def borders(self, path, header):
        return found(rooms.borders, path, f'#include <stdio.h>\n#include "{header}"\n')

    def test_arrows(self):
        for path, header, allowed in [
            ("src/base/str.c", "base/str.h", True),
            ("src/base/str.c", "net/addr.h", False),
            ("src/net/loop.c", "base/str.h", True),
            ("src/net/loop.h", "smtp/reply.h", False),
            ("src/smtp/line.c", "net/addr.h", True),
            ("src/smtp/line.c", "net/entry.h", True),
            ("src/smtp/line.c", "net/loop.h", False),
            ("src/mime/dsn.c", "smtp/reply.h", True),
            ("src/mime/dsn.c", "smtp/address.h", True),
            ("src/mime/dsn.c", "smtp/server.h", False),
            ("src/mime/dsn.c", "net/addr.h", False),
            ("src/gateway/session.c", "smtp/server.h", True),
            ("src/gateway/session.c", "http/server.h", False),
            ("src/gateway/session.c", "relay/relay.h", False),
            ("src/relay/relay.c", "gateway/gateway.h", False),
            ("src/relay/relay.c", "settings/settings.h", True),
            ("src/api/queue.c", "relay/relay_view.h", True),
            ("src/api/queue.c", "relay/relay.h", False),
            ("src/api/queue.c", "settings/store.h", True),
            ("src/daemon/main.c", "gateway/gateway.h", True),
            ("src/gateway/session.c", "daemon/options.h", False),
            ("src/api/queue.c", "str.h", False),
        ]:
            with self.subTest(path=path, header=header):
                findings = self.borders(path, header)
                self.assertEqual(findings == [], allowed, findings)
                self.assertTrue(all(f.startswith(f"{path}:2: ") for f in findings), findings)

    def test_the_real_table_is_read(self):
        table, values = rooms.read_table(Tree())
        self.assertEqual(table["base"].rooms, set())
        self.assertEqual(table["net"].rooms, {"base"})
        self.assertNotIn("gateway", table["relay"].rooms)
        self.assertIn("spool", table["relay"].rooms)
        self.assertTrue(table["daemon"].hidden)
        self.assertIn("reply.h", values["smtp"])
        self.assertNotIn("server.h", values["smtp"])

    def test_a_room_without_a_row(self):
        self.assertEqual(len(found(rooms.table_is_true, "src/attic/x.c", "")), 1)
        self.assertEqual(found(rooms.table_is_true, "src/net/x.c", ""), [])

    def test_libraries_stay_behind_their_room(self):
        for path, header, allowed in [
            ("src/net/loop.c", "event2/event.h", True),
            ("src/net/stream.c", "event2/event.h", False),
            ("src/settings/store_sqlite.c", "sqlite3.h", True),
            ("src/settings/schema.c", "sqlite3.h", False),
            ("src/tls/stream.c", "openssl/ssl.h", True),
            ("src/relay/relay.c", "openssl/ssl.h", False),
            ("src/settings/hash.c", "openssl/sha.h", True),
        ]:
            with self.subTest(path=path, header=header):
                self.assertEqual(
                    found(rooms.libraries, path, f"#include <{header}>\n") == [], allowed)

    def test_purity(self):
        for path, text, allowed in [
            ("src/smtp/a.c", "#include <sys/socket.h>\n", False),
            ("src/smtp/a.c", '#include "base/log.h"\n', False),
            ("src/policy/a.c", "x = clock_mono_ns();\n", False),
            ("src/policy/a.c", "/* clock_mono_ns() */ snprintf(a, b, c);\n", True),
            ("src/net/a.c", "#include <sys/socket.h>\n", True),
        ]:
            with self.subTest(path=path, text=text):
                self.assertEqual(found(rooms.purity, path, text) == [], allowed)


class Source(unittest.TestCase):
    def test_banned_functions(self):
        for path, text, allowed in [
            ("src/net/a.c", "strcpy(a, b);", False),
            ("src/net/a.c", "x = sprintf (a, b);", False),
            ("src/net/a.c", "/* strcpy(a, b) */", True),
            ("src/net/a.c", 'log("strcpy(a, b)");', True),
            ("src/net/a.c", "my_strcpy(a); s->gets(x); snprintf(a);", True),
            ("src/net/a.c", "assert(x);", False),
            ("src/net/a.c", "pt_assert(x); _Static_assert(x);", True),
            ("src/net/a.c", "exit(1);", False),
            ("src/daemon/a.c", "exit(1);", True),
            ("src/daemon/a.c", "system(x);", False),
            ("tools/sink/a.c", "exit(1);", True),
            ("tests/unit/a.c", "strcpy(a, b);", True),
        ]:
            with self.subTest(path=path, text=text):
                findings = found(source.banned_functions, path, f"\n\n{text}\n")
                self.assertEqual(findings == [], allowed, findings)
                self.assertTrue(all(f.startswith(f"{path}:3: ") for f in findings))

    def test_sizes(self):
        def function(lines):
            return "int f(void)\n{\n" + "    x();\n" * lines + "}\n"
        self.assertEqual(found(source.sizes, "src/net/a.c", function(60)), [])
        self.assertIn("warning", found(source.sizes, "src/net/a.c", function(61))[0])
        self.assertIn("f() has 101 lines", found(source.sizes, "src/net/a.c", function(101))[0])
        table = "static const int t[] = {\n" + "    1,\n" * 500 + "};\n"
        self.assertEqual(found(source.sizes, "src/net/a.c", table), [])
        self.assertIn("the limit is", found(source.sizes, "src/net/a.c", "x\n" * 1001)[0])

    def test_headers(self):
        self.assertEqual(found(source.headers, "src/net/a.h", "#pragma once\n/* x */\n"), [])
        self.assertEqual(len(found(source.headers, "src/net/a.h", "/* x */\n")), 1)
        self.assertEqual(len(found(source.headers, "src/net/a.h", "#pragma once\n")), 1)
        self.assertEqual(len(found(source.headers, "src/net/a.c", "typedef struct x x;\n")), 1)

    def test_a_file_that_is_not_built(self):
        build = {"src/net/meson.build": "files('loop.c')\nforeach n : ['addr', 'x/list']\n"}
        for name, allowed in [("loop.c", True), ("addr.c", True), ("test_addr.c", True),
                              ("loo.c", False), ("stray.c", False)]:
            with self.subTest(name=name):
                self.assertEqual(
                    found(source.built, f"src/net/{name}", "", **build) == [], allowed)


class Prose(unittest.TestCase):
    def test_rfc_references(self):
        table = {"docs/rfc.tsv": "5321\t\tSMTP\n5321\t4.5.2\tTransparency\n3720\tB.4\tCRC\n"}
        for text, missing in [
            ("/* RFC 5321 */", []),
            ("/* RFC 5321 4.5.2 */", []),
            ("/* RFC 5321 section 4.5.2. */", []),
            ("/* as RFC 5321\n * section 4.5.2 says */", []),
            ("/* RFC 3720 appendix B.4 */", []),
            ("// RFC 5321 4.5.3", ["RFC 5321 4.5.3"]),
            ("/* RFC 5321 section 4 */", ["RFC 5321 4"]),
            ("/* RFC 822 */", ["RFC 822"]),
            ('x("RFC 822");', []),
        ]:
            with self.subTest(text=text):
                findings = found(prose.rfc_references, "src/net/a.c", text, **table)
                self.assertEqual([f.split(": ")[1].split(" is not")[0] for f in findings], missing)

    def test_links(self):
        text = "[a](README.md) [b](https://example.org/x) [c](#here) [d](README.md#x) [e](gone.md)"
        self.assertEqual(found(prose.links, "x.md", text), ["x.md:1: gone.md is not there"])

    def test_readmes(self):
        self.assertEqual(len(found(prose.readmes, "src/net/a.c", "")), 1)
        self.assertEqual(found(prose.readmes, "src/net/a.c", "", **{"src/net/README.md": "x"}), [])

    def test_places(self):
        for text, allowed in [
            ("see /ho" + "me/me/x", False),
            ("/wo" + "rk/main", False),
            ("/tmp/w" + "t/x", False),
            ("registry.npm" + "js.org", False),
            ("/usr/bin/python3 /var/lib/postern /tmp/x network/main framework/x", True),
        ]:
            with self.subTest(text=text):
                self.assertEqual(found(prose.places, "x.md", text) == [], allowed)

    def test_lock_file(self):
        self.assertEqual(found(prose.lock_file, "package-lock.json", '"version": "1"'), [])
        self.assertEqual(len(found(prose.lock_file, "package-lock.json", '"resolved": "x"')), 1)


if __name__ == "__main__":
    unittest.main()
