"""peers: Postfix, OpenSMTPD, Exim and Dovecot from Debian, run from a folder beside Postern; the name
server Knot is unpacked here too, tests/e2e/lib/knot.py runs it.

Mail servers exclude each other as packages, so they are not installed: the packages are fetched by
apt and unpacked under `.dev/peers/`. Each server runs in a mount and PID namespace of its own, with
its own users, spool folder and configuration; nothing of the host changes and the whole tree dies
with the process that started it. Namespaces need root.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import proc

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".dev" / "peers"
PACKAGES = {
    "postfix": ["postfix"],
    "opensmtpd": ["opensmtpd"],
    "exim": ["exim4-daemon-light"],
    "dovecot": ["dovecot-core", "dovecot-lmtpd"],
    "knot": [
        "knot",
        "knot-dnssecutils",
        "libknot13",
        "libdnssec9",
        "libzscanner4",
        "liburcu8",
        "libxdp1",
    ],
}
# The numbers of the accounts that exist inside the namespaces only.
UID = {"postfix": 64801, "opensmtpd": 64802, "opensmtpq": 64803, "mailbox": 64805}
GID = {**UID, "postdrop": 64804}
MAILBOX_UID = UID["mailbox"]


class PeerError(Exception):
    """A peer cannot be fetched or does not start; the text says why."""


def fetch(name: str) -> Path:
    """Returns the folder into which the package is unpacked; fetches it the first time."""
    target = FOLDER / name
    if (target / ".complete").exists():
        return target
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f"{name}.lock", "w") as lock:  # for tests that run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / ".complete").exists():
            _unpack(name, target)
    return target


def _unpack(name: str, target: Path) -> None:
    deb = FOLDER / "deb" / name
    shutil.rmtree(deb, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    deb.mkdir(parents=True)
    for package in PACKAGES[name]:
        run = subprocess.run(
            ["apt-get", "-o", "APT::Sandbox::User=root", "download", package],
            cwd=deb,
            capture_output=True,
            text=True,
        )
        if run.returncode != 0:
            raise PeerError(f"cannot download the package {package}: {run.stderr.strip()}")
    for archive in sorted(deb.glob("*.deb")):
        subprocess.run(["dpkg", "-x", archive, target], check=True)
    (target / ".complete").touch()


def version(name: str) -> str:
    """The version of the package that was unpacked, as Debian writes it."""
    archives = sorted((FOLDER / "deb" / name).glob(f"{name}_*.deb"))
    return archives[0].name.split("_")[1].replace("%3a", ":") if archives else "unknown"


def postfix_tool(tool: str) -> list[str]:
    """The command that runs smtp-source or smtp-sink out of the unpacked package."""
    root = fetch("postfix")
    return ["env", f"LD_LIBRARY_PATH={root}/usr/lib/postfix", f"{root}/usr/sbin/{tool}"]


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def wait_for_greeting(
    port: int, process: subprocess.Popen, log: Path, seconds: float = 20.0
) -> None:
    """Returns once a server greets on the port; fails with its log when it ends before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                if s.recv(512).startswith(b"220"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    text = log.read_text(errors="replace")[-4000:] if log.exists() else ""
    raise PeerError(f"no greeting on port {port}:\n{text}")


class Peer:
    """A server in its namespaces. `work` holds its configuration and spool; it must be on a disk
    that survives power loss where durability is compared."""

    name = ""

    def __init__(self, work: Path, next_hop: int, port: int | None = None):
        if os.geteuid() != 0:
            raise PeerError(f"{self.name} runs in namespaces of its own: root is needed")
        self.root = fetch(self.name)
        self.work = work
        self.next_hop = next_hop
        self.port = port or free_port()
        self.log = work / "log"
        self.process: subprocess.Popen | None = None
        shutil.rmtree(work, ignore_errors=True)
        (work / "etc").mkdir(parents=True)
        for parent in reversed(work.resolve().parents):  # its own users must reach its folder
            if parent.stat().st_mode & 0o001 == 0:
                raise PeerError(f"{parent} cannot be entered by the peer's own users")

    @property
    def pid(self) -> int:
        """The root of the process tree."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        self.configure()
        self._accounts()
        mounts = [
            (self.work / "passwd", "/etc/passwd"),
            (self.work / "group", "/etc/group"),
            *self.mounts(),
        ]
        # The shell stays, as the first process of the namespace: it keeps the kernel's promise that
        # it dies with its parent, which a server that changes its user would lose.
        script = "set -e\n" + "".join(f"mount --bind '{a}' '{b}'\n" for a, b in mounts)
        script += self.setup()
        script += " ".join(f"'{part}'" for part in self.command()) + " &\nwait $!\n"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment()},
                preexec_fn=proc.die_with_parent,
            )
        wait_for_greeting(self.port, self.process, self.log)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL)  # --kill-child and the PID namespace end the tree
        self.process.wait()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self.stop()

    def _accounts(self) -> None:
        passwd = Path("/etc/passwd").read_text()
        group = Path("/etc/group").read_text()
        for user, uid in UID.items():
            passwd += f"{user}:x:{uid}:{GID[user]}::/nonexistent:/usr/sbin/nologin\n"
        for name, gid in GID.items():
            group += f"{name}:x:{gid}:\n"
        (self.work / "passwd").write_text(passwd)
        (self.work / "group").write_text(group)

    def configure(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def mounts(self) -> list[tuple[Path, str]]:
        return []

    def setup(self) -> str:
        """More that the shell does inside before the server starts."""
        return ""

    def environment(self) -> dict[str, str]:
        return {}


class Postfix(Peer):
    """Debian's Postfix with its defaults, but for what makes it a relay to one next hop. With
    `maildir` it is the last stop instead: every recipient lands in that folder."""

    name = "postfix"

    def __init__(
        self,
        work: Path,
        next_hop: int,
        port: int | None = None,
        *,
        maildir: bool = False,
        settings: dict[str, str] | None = None,
        process_limit: int = 100,
    ):
        super().__init__(work, next_hop, port)
        self.maildir = work / "mail" if maildir else None
        self.settings = settings or {}
        self.process_limit = process_limit
        self.spool = work / "spool"

    def main_cf(self) -> dict[str, str]:
        settings = {
            "compatibility_level": "3.6",
            "command_directory": f"{self.root}/usr/sbin",
            "daemon_directory": f"{self.root}/usr/lib/postfix/sbin",
            "shlib_directory": f"{self.root}/usr/lib/postfix",
            "queue_directory": str(self.spool),
            "data_directory": str(self.work / "data"),
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": "postfix.example",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "alias_database": "",
            "message_size_limit": str(50 << 20),  # as Postern has it
            "default_process_limit": str(self.process_limit),
            # The unpacked libraries are not where the loader looks.
            "import_environment": "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH",
            "export_environment": "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH",
        }
        if self.maildir:
            settings |= {
                "virtual_mailbox_domains": "static:all",
                "virtual_mailbox_base": str(self.maildir),
                "virtual_mailbox_maps": "static:all/",
                "virtual_uid_maps": f"static:{MAILBOX_UID}",
                "virtual_gid_maps": f"static:{MAILBOX_UID}",
                "message_drop_headers": "",
                "local_header_rewrite_clients": "",
                "virtual_mailbox_limit": "0",
                "maillog_file": str(self.work / "mail.log"),
                "maillog_file_prefixes": str(self.work),
            }
        else:
            settings["relayhost"] = f"[127.0.0.1]:{self.next_hop}"
        return settings | self.settings

    def configure(self) -> None:
        etc = self.work / "etc"
        (etc / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in self.main_cf().items()))
        master = (self.root / "usr/share/postfix/master.cf.dist").read_text().splitlines()
        (etc / "master.cf").write_text("\n".join(map(self._service, master)) + "\n")
        for name in (
            "active",
            "bounce",
            "corrupt",
            "defer",
            "deferred",
            "flush",
            "hold",
            "incoming",
            "private",
            "saved",
            "trace",
        ):
            self._folder(self.spool / name, 0o700, "postfix", "postfix")
        self._folder(self.spool / "maildrop", 0o730, "postfix", "postdrop")
        self._folder(self.spool / "public", 0o710, "postfix", "postdrop")
        (self.spool / "pid").mkdir()
        self._folder(self.work / "data", 0o700, "postfix", "postfix")
        if self.maildir:
            self.maildir.mkdir()
            os.chown(self.maildir, MAILBOX_UID, MAILBOX_UID)

    def _service(self, line: str) -> str:
        """One line of Debian's master.cf: our port, and no chroot, which needs files copied in."""
        if line.startswith("smtp      inet"):
            return f"127.0.0.1:{self.port} inet n - n - - smtpd"
        fields = line.split()
        if line[:1] in ("#", " ", "") or len(fields) < 8:
            return line
        fields[4] = "n"
        return " ".join(fields)

    @staticmethod
    def _folder(path: Path, mode: int, owner: str, group: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, UID[owner], GID[group])
        path.chmod(mode)

    def command(self) -> list[str]:
        return [f"{self.root}/usr/lib/postfix/sbin/master", "-d", "-c", str(self.work / "etc")]

    def environment(self) -> dict[str, str]:
        return {
            "LD_LIBRARY_PATH": f"{self.root}/usr/lib/postfix",
            "MAIL_CONFIG": str(self.work / "etc"),
        }

    def queued(self) -> int:
        """Messages in the queue, those just coming in included."""
        return sum(
            1
            for part in ("maildrop", "incoming", "active", "deferred")
            for entry in (self.spool / part).rglob("*")
            if entry.is_file()
        )


class Exim(Peer):
    """Debian's light Exim as the last stop: every message becomes a file of a Maildir, as it came
    but for what Exim puts on top. `offers` are its settings that decide what EHLO says."""

    name = "exim"

    def __init__(self, work: Path, port: int | None = None, *, offers: dict[str, str] | None = None):
        super().__init__(work, 0, port)
        self.maildir = work / "mail"
        self.offers = offers or {}

    def configure(self) -> None:
        for folder in (self.maildir, self.work / "spool", self.work / "exim-log"):
            folder.mkdir()
            os.chown(folder, MAILBOX_UID, MAILBOX_UID)
        settings = {
            "primary_hostname": "exim.example",
            "exim_user": str(MAILBOX_UID),
            "exim_group": str(MAILBOX_UID),
            "spool_directory": str(self.work / "spool"),
            "log_file_path": str(self.work / "exim-log" / "%s"),
            "domainlist local_domains": "*",
            "acl_smtp_rcpt": "accept_all",
            "acl_smtp_data": "accept_all",
            "host_lookup": "",
            "rfc1413_hosts": "",
            "keep_environment": "",
            "local_interfaces": "127.0.0.1",
            "message_size_limit": "50M",
            "tls_advertise_hosts": "",
            "smtp_accept_max": "0",
            "smtp_accept_max_per_connection": "0",
            "smtp_accept_queue_per_connection": "0",
            "smtp_enforce_sync": "true",
            **self.offers,
        }
        (self.work / "etc" / "exim.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in settings.items())
            + "begin acl\naccept_all:\n  accept\n"
            + "begin routers\nall:\n  driver = accept\n  transport = box\n"
            + "begin transports\nbox:\n  driver = appendfile\n  maildir_format\n"
            + f"  directory = {self.maildir}\n  user = {MAILBOX_UID}\n  group = {MAILBOX_UID}\n"
            + "  message_prefix =\n  message_suffix =\n  return_path_add\n"
        )

    def command(self) -> list[str]:
        exim = f"{self.root}/usr/sbin/exim4"
        return [exim, "-C", str(self.work / "etc" / "exim.conf"), "-bdf", "-oX", str(self.port)]


class OpenSmtpd(Peer):
    """Debian's OpenSMTPD, relaying all mail to one next hop. It does not sync a message before its
    `250`: after a power cut accepted mail may be gone."""

    name = "opensmtpd"

    def configure(self) -> None:
        (self.work / "etc" / "smtpd.conf").write_text(
            "smtp limit max-mails 1000000\n"  # smtp-source ends at the first refusal
            f"listen on 127.0.0.1 port {self.port} hostname opensmtpd.example\n"
            f'action "out" relay host "smtp://127.0.0.1:{self.next_hop}"\n'
            'match from any for any action "out"\n'
        )
        for folder, mode, owner, group in (
            ("spool/smtpd", 0o711, 0, 0),
            ("spool/smtpd/offline", 0o770, 0, GID["opensmtpq"]),
            ("spool/smtpd/purge", 0o700, UID["opensmtpq"], 0),
            ("spool/smtpd/temporary", 0o700, UID["opensmtpq"], 0),
            ("spool/smtpd/incoming", 0o700, UID["opensmtpq"], 0),
            ("spool/smtpd/queue", 0o700, UID["opensmtpq"], 0),
            ("spool/smtpd/corrupt", 0o700, UID["opensmtpq"], 0),
            ("lib/opensmtpd/empty", 0o755, 0, 0),
            ("run", 0o755, 0, 0),
        ):
            path = self.work / folder
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, owner, group)
            path.chmod(mode)
        os.chmod(self.work / "etc" / "smtpd.conf", 0o600)
        # Its resolver would ask the network for the name of 127.0.0.1, and wait.
        (self.work / "etc" / "resolv.conf").write_text("lookup file\n")

    def mounts(self) -> list[tuple[Path, str]]:
        return [
            (self.work / "spool", "/var/spool"),
            (self.work / "lib", "/var/lib"),
            (self.work / "run", "/run"),
            (self.work / "etc" / "resolv.conf", "/etc/resolv.conf"),
        ]

    def command(self) -> list[str]:
        return [f"{self.root}/usr/sbin/smtpd", "-F", "-f", str(self.work / "etc" / "smtpd.conf")]


class Dovecot(Peer):
    """Debian's Dovecot as an LMTP server. `users` are its recipients (any domain), each with a
    Maildir below `mail`; those in `broken` have one that cannot be written, which it finds out
    after the final dot only. Everybody else is refused at RCPT. With `passwords`, by user, it checks
    them for others at `auth_port`."""

    name = "dovecot"

    def __init__(
        self,
        work: Path,
        port: int | None = None,
        *,
        users: tuple[str, ...],
        broken: tuple[str, ...] = (),
        passwords: dict[str, str] | None = None,
    ):
        super().__init__(work, 0, port)
        self.passwords = passwords
        self.auth_port = free_port()
        self.mail = work / "mail"
        self.users = users
        self.broken = broken

    def configure(self) -> None:
        for folder in ("run", "state", "mail"):
            (self.work / folder).mkdir()
        os.chown(self.mail, MAILBOX_UID, MAILBOX_UID)
        (self.work / "nowhere").touch()
        (self.work / "etc" / "users").write_text(
            "".join(f"{user}:::::::\n" for user in self.users)
            + "".join(
                f"{user}:::::::userdb_mail=maildir:{self.work}/nowhere/{user}\n"
                for user in self.broken
            )
        )
        configuration = self.work / "etc" / "dovecot.conf"
        configuration.write_text(f"""\
protocols = lmtp
listen = 127.0.0.1
base_dir = {self.work}/run
state_dir = {self.work}/state
log_path = {self.work}/mail.log
import_environment = TZ
ssl = no
default_internal_user = mailbox
default_internal_group = mailbox
default_login_user = mailbox
mail_location = maildir:{self.mail}/%n
mail_uid = mailbox
mail_gid = mailbox
first_valid_uid = 1
hostname = dovecot.example
postmaster_address = postmaster@dovecot.example
lda_mailbox_autocreate = yes
{self._passwords()}
userdb {{
  driver = passwd-file
  args = username_format=%n {self.work}/etc/users
}}
service config {{
  executable = config -c {configuration}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
}}
""")

    def _passwords(self) -> str:
        if self.passwords is None:
            return "passdb {\n  driver = static\n  args = nopassword=y\n}"
        (self.work / "etc" / "passwords").write_text(
            "".join(f"{user}:{{PLAIN}}{word}\n" for user, word in self.passwords.items())
        )
        return (
            "auth_mechanisms = plain login\n"
            f"passdb {{\n  driver = passwd-file\n  args = {self.work}/etc/passwords\n}}\n"
            "service auth {\n  inet_listener {\n    address = 127.0.0.1\n"
            f"    port = {self.auth_port}\n  }}\n}}"
        )

    def setup(self) -> str:
        # Its paths are built in; it looks for its programs and modules below /usr/lib/dovecot.
        return f"mount -t overlay overlay -o 'lowerdir={self.root}/usr/lib:/usr/lib' /usr/lib\n"

    def command(self) -> list[str]:
        configuration = str(self.work / "etc" / "dovecot.conf")
        dovecot = f"{self.root}/usr/sbin/dovecot"
        return [f"{self.root}/usr/bin/doveconf", "-c", configuration, "-e", dovecot, "-F"]

    def kept(self, user: str) -> list[bytes]:
        """What stands in a user's mailbox."""
        return [path.read_bytes() for path in sorted((self.mail / user / "new").glob("*"))]
