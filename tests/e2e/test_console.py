"""The console: accounts, the first log-in, roles, tokens, and what strangers try."""

import json
import os
import stat

import pytest

from lib import Postern, free_port, run_postern, temporary_folder

PASSWORD = "correct horse battery"


# ---- accounts on the command line ----


def test_accounts_need_no_gateway():
    with temporary_folder() as folder:
        state = folder / "state"
        run_postern("admin", "add", "ann", state=state, stdin=PASSWORD + "\n")
        run_postern("admin", "add", "bob", "--role", "viewer", state=state, stdin=PASSWORD)
        items = json.loads(run_postern("admin", "list", "--json", state=state).stdout)["items"]
        assert [(i["name"], i["role"]) for i in items] == [
            ("ann", "administrator"),
            ("bob", "viewer"),
        ]
        stored = (state / "console" / "accounts.json").read_text()
        assert PASSWORD not in stored and stored.count("$argon2id$v=19$m=19456,t=2,p=1$") == 2
        assert stat.S_IMODE(os.stat(state / "console" / "accounts.json").st_mode) == 0o600
        run_postern("admin", "passwd", "bob", state=state, stdin="another password\n")
        assert (state / "console" / "accounts.json").read_text() != stored
        run_postern("admin", "remove", "bob", state=state)
        rows = json.loads(run_postern("audit", "--json", state=state).stdout)["items"]
        assert [(r["action"], r["target"]) for r in rows] == [
            ("admins.remove", "bob"),
            ("admins.password", "bob"),
            ("admins.add", "bob"),
            ("admins.add", "ann"),
        ]


@pytest.mark.parametrize(
    "words, stdin, why",
    [
        (("add", "ann"), PASSWORD, "already"),
        (("add", "an n"), PASSWORD, "name of an account"),
        (("add", "-x"), PASSWORD, ""),
        (("add", "bob"), "short\n", "at least 8"),
        (("add", "bob"), "", "no password"),
        (("add", "bob", "--role", "root"), PASSWORD, "--role is"),
        (("passwd", "bob"), PASSWORD, "no account bob"),
        (("remove", "bob"), None, "no account bob"),
        (("remove", "ann"), None, "last administrator"),
    ],
)
def test_what_an_account_cannot_be(words, stdin, why):
    with temporary_folder() as folder:
        run_postern("admin", "add", "ann", state=folder, stdin=PASSWORD)
        before = (folder / "console" / "accounts.json").read_bytes()
        run = run_postern("admin", *words, state=folder, stdin=stdin, status=None)
        assert run.returncode in (1, 2) and why in run.stderr
        assert len(run.stderr.strip().splitlines()) == 1
        assert (folder / "console" / "accounts.json").read_bytes() == before


def test_the_last_administrator_goes_with_a_word():
    with temporary_folder() as folder:
        run_postern("admin", "add", "ann", state=folder, stdin=PASSWORD)
        out = run_postern("admin", "remove", "ann", "--yes", state=folder).stdout
        assert "no administrator now" in out
        assert "no account" in run_postern("admin", "list", state=folder).stdout


def test_accounts_are_changed_while_it_runs():
    with Postern(free_port()) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        assert gateway.json("admin", "list")["total"] == 1
        status, rows = gateway.api("GET", "/api/v1/audit?action=admins")
        assert status == 200 and rows["items"][0]["target"] == "ann"
