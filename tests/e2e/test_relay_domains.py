"""Relay domains from a file: imported, exported, a million of them; case, dots and IDN alike."""

import os
import re

import pytest

from lib import Postern

FILE = """\ufeff# ours
Example.COM
*.wild.example.   # with a dot
b\u00fccher.example

XN--STRAE-OQA.example
a.wild.example
example.com
"""


@pytest.fixture
def gateway():
    with Postern(settings={"message_rules": {"permitted_relay": {"hosts": "specified"}}}) as one:
        yield one


def domains(gateway: Postern) -> list[str]:
    return gateway.json("settings", "show", "message_rules.relay_domains")


def takes(gateway: Postern, *recipients: str) -> list[int]:
    with gateway.client() as client:
        client.hello()
        client.says("MAIL FROM:<a@source.example> SMTPUTF8").expect(250)
        codes = [client.says(f"RCPT TO:<{recipient}>").reply().code for recipient in recipients]
        client.says("QUIT").expect(221)
    return codes


def test_a_file_is_imported_and_counts_at_once(gateway, tmp_path):
    path = tmp_path / "domains.txt"
    path.write_text(FILE.replace("\n", "\r\n"))
    report = gateway.cli("rules", "import", path, "--dry-run")
    assert "added 5, duplicate 1, normalised 2, covered 1" in report
    assert "line 3: *.wild.example.: becomes *.wild.example" in report
    assert "line 7: a.wild.example: is covered by a wider entry" in report
    assert "nothing was changed" in report and domains(gateway) == []

    assert "5 relay domains; revision 2 is in force" in gateway.cli("rules", "import", path)
    want = [
        "example.com",
        "*.wild.example",
        "xn--bcher-kva.example",
        "xn--strae-oqa.example",
        "a.wild.example",
    ]
    assert domains(gateway) == want
    assert gateway.cli("rules", "export").splitlines() == want
    assert gateway.json("rules", "export") == want
    for alike in (
        ("u@example.com", "u@EXAMPLE.Com", "u@x.wild.example", "u@X.Y.Wild.Example"),
        ("u@b\u00fccher.example", "u@B\u00dcCHER.example", "u@xn--bcher-kva.EXAMPLE"),
        ("u@stra\u00dfe.example", "u@xn--strae-oqa.example"),
    ):
        assert takes(gateway, *alike) == [250] * len(alike)
    assert takes(gateway, "u@wild.example", "u@bucher.example", "u@x.example.com") == [550] * 3

    # The file that was written is read again, and adds nothing.
    path.write_text(gateway.cli("rules", "export"))
    report = gateway.json("rules", "import", path)
    assert (report["added"], report["duplicate"], report["revision"]) == (0, 5, 2)
    path.write_text("*.example.org\n")
    gateway.cli("rules", "import", path, "--replace")
    assert domains(gateway) == ["*.example.org"]
    assert takes(gateway, "u@a.example.org", "u@example.com") == [250, 550]
    assert gateway.json("audit")["items"][0]["detail"] == "relay domains: replaced by 1 from a file"


def test_one_wrong_line_keeps_the_file_out(gateway, tmp_path):
    path = tmp_path / "domains.txt"
    path.write_text("good.example\n192.0.2.1\nuser@bad.example\n*.*.example\n")
    error = gateway.cli("rules", "import", path, status=1)
    assert "nothing was imported" in error
    assert re.findall(r"line (\d)", error) == ["2", "3", "4"] and "192.0.2.1" in error
    status, answer = gateway.api(
        "POST",
        "/api/v1/message_rules/relay_domains",
        path.read_text(),
        headers={"Content-Type": "text/plain"},
    )
    assert status == 422 and [e["pointer"] for e in answer["errors"]] == ["/1", "/2", "/3"]
    assert domains(gateway) == []
    assert "added 1" in gateway.cli("rules", "import", path, "--valid-only")
    assert domains(gateway) == ["good.example"]
    assert "cannot read" in gateway.cli("rules", "import", tmp_path / "none", status=1)


def test_every_domain_must_be_confirmed(gateway, tmp_path):
    path = tmp_path / "domains.txt"
    path.write_text("*\n")
    assert "open relay" in gateway.cli("rules", "import", path, status=1)
    assert domains(gateway) == []
    gateway.cli("rules", "import", path, "--yes")
    assert takes(gateway, "u@anywhere.example") == [250]
    # It is in force: what else changes needs no second word.
    assert gateway.api("PATCH", "/api/v1/settings", {"message_rules": {"max_recipients": 5}})[0] == 200


def test_the_list_is_shown_in_pages(gateway):
    names = [f"d{number}.example" for number in range(250)]
    gateway.cli("rules", "import", "-", stdin="\n".join(names))
    seen, cursor = [], "0"
    while cursor:
        _, page = gateway.api("GET", f"/api/v1/message_rules/relay_domains?limit=100&cursor={cursor}")
        seen += [item["domain"] for item in page["items"]]
        cursor = page["next"]
        assert page["total"] == 250
    assert seen == names
    _, found = gateway.api("GET", "/api/v1/message_rules/relay_domains?q=D24")
    assert [item["domain"] for item in found["items"]] == ["d24.example", *names[240:250]]
    # A long list is a list in every document, and stored once.
    document = gateway.api("GET", "/api/v1/settings")[1]
    assert document["message_rules"]["relay_domains"] == names
    patch = {"message_rules": {"relay_domains": "sha256:" + "0" * 64}}
    assert gateway.api("PATCH", "/api/v1/settings", patch)[0] == 422
    gateway.cli("settings", "rollback", "1")
    assert domains(gateway) == []
    gateway.cli("settings", "rollback", "2")
    assert domains(gateway) == names
    gateway.restart()
    assert domains(gateway) == names and takes(gateway, "u@d249.example") == [250]


def test_a_long_list_is_kept_with_the_gateway_down(gateway):
    names = [f"d{number}.example" for number in range(100)]
    document = gateway.api("GET", "/api/v1/settings")[1]
    document["message_rules"]["relay_domains"] = names
    assert gateway.stop() == 0
    gateway.cli("settings", "apply", gateway.write_document(document))
    gateway.start(apply=False)
    assert domains(gateway) == names and takes(gateway, "u@d99.example") == [250]
    gateway.cli("rules", "import", "-", stdin="one.more.example")
    assert gateway.stop() == 0
    gateway.cli("settings", "rollback", "2")
    gateway.start(apply=False)
    assert domains(gateway) == names


@pytest.mark.slow
def test_a_million_domains_cost_once(gateway, tmp_path):
    path = tmp_path / "million.txt"
    with open(path, "w") as file:
        for number in range(1_000_000):
            file.write(f"{'*.' if number % 10 == 0 else ''}d{number}.c{number % 997}.example\n")
    report = gateway.json("rules", "import", path)
    assert (report["added"], report["total"], report["error_count"]) == (1_000_000, 1_000_000, 0)
    assert takes(gateway, "u@d999999.c8.example", "u@x.d10.c10.example", "u@d10.c10.example") == [
        250,
        250,
        550,
    ]

    def stored() -> int:
        return sum(os.path.getsize(p) for p in gateway.state.glob("settings.db*"))

    before = stored()
    for number in range(5):
        patch = {"message_rules": {"max_recipients": 100 + number}}
        assert gateway.api("PATCH", "/api/v1/settings", patch)[0] == 200
    gateway.cli("rules", "import", "-", stdin="one.more.example\n")
    assert stored() - before < 8 << 20  # a list of its own each time would be 6 times 25 MB
    assert gateway.cli("rules", "export").count("\n") == 1_000_001
    gateway.restart()
    assert takes(gateway, "u@one.more.example", "u@d999999.c8.example") == [250, 250]
