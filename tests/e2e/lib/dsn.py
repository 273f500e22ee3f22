"""dsn: reads a delivery status notification, and refuses what RFC 3461 6, RFC 3462, RFC 3464 or RFC
6533 do not allow.

    notice = read_notice(message)
    notice.recipients[0]["Action"]

`message` is what a next hop took. Everything is checked: the envelope, the header, the parts and
their order, each field's grammar, which may stand once, which must, and which Status goes with
which Action.
"""

import email
import email.policy
import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+"
DATE = (
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}"
)
NAME = r"[A-Za-z0-9]([A-Za-z0-9\-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9\-]*[A-Za-z0-9])?)*"
LITERAL = r"\[(\d{1,3}(\.\d{1,3}){3}|IPv6:[0-9a-fA-F:.]+)\]"
HOST = rf"dns; ({NAME}|{LITERAL})"
OF_MESSAGE = {
    "Reporting-MTA": HOST,
    "Original-Envelope-Id": r"[\x20-\x7e]+",
    "Received-From-MTA": rf"dns; ({NAME} \({LITERAL}\)|{LITERAL})",
    "Arrival-Date": DATE,
}
ADDRESS = r"(rfc822; [\x21-\x7e ]+@[\x21-\x7e]+|utf-8; \S+@\S+)"
OF_RECIPIENT = {
    "Original-Recipient": rf"({ADDRESS}|{ATOM}; [\x20-\x7e]+)",
    "Final-Recipient": ADDRESS,
    "Action": r"failed|delayed|delivered|relayed|expanded",
    "Status": r"[245]\.\d{1,3}\.\d{1,3}",
    "Remote-MTA": HOST,
    "Diagnostic-Code": r"(smtp; [245]\d\d( .*)?|X-Postern; .+)",
    "Last-Attempt-Date": DATE,
    "Will-Retry-Until": DATE,
}
CLASSES = {"failed": "45", "delayed": "4", "delivered": "2", "relayed": "2"}
RETURNED = {
    "message/rfc822",
    "text/rfc822-headers",
    "message/global",
    "message/global-headers",
}


@dataclass
class Notice:
    mail: EmailMessage
    text: str  # what a person reads
    message: dict[str, str]  # fields about the message
    recipients: list[dict[str, str]]  # and about each recipient
    returned_type: str = ""  # of the part with the original; empty: there is none
    returned: str = ""  # that part's octets, as text
    raw: bytes = field(default=b"", repr=False)


def read_notice(message, *, to: str | None = None) -> Notice:
    """`message` has the attributes of lib's messages; `to` is the reverse-path it must go to."""
    content = message.content
    assert message.reverse_path == "", "a notice has a null reverse-path (RFC 3461 6.1)"
    assert len(message.recipients) == 1
    if to is not None:
        assert message.recipients == [to]
    assert not any(p.startswith(("RET=", "NOTIFY=")) for p in message.mail_parameters)
    check_lines(content)
    mail = email.message_from_bytes(content, policy=email.policy.SMTP)
    for part in mail.walk():
        assert not part.defects, (part.get_content_type(), part.defects)
    check_header(mail, message.recipients[0])
    parts = raw_parts(content, mail.get_boundary())
    assert len(parts) in (2, 3)
    kinds = [head_of(part)["content-type"].split(";")[0] for part in parts]
    assert kinds[0] == "text/plain"
    assert kinds[1] in ("message/delivery-status", "message/global-delivery-status")
    assert kinds[2:] == [] or kinds[2] in RETURNED, kinds
    text = list(mail.iter_parts())[0].get_content()
    of_message, recipients = read_status(body_of(parts[1]), kinds[1].startswith("message/global"))
    notice = Notice(mail, text, of_message, recipients, raw=content)
    if kinds[2:]:
        notice.returned_type = kinds[2]
        notice.returned = body_of(parts[2]).decode("utf-8", "surrogateescape")
    check_text(text)
    return notice


def check_lines(content: bytes) -> None:
    assert content.endswith(b"\r\n")
    for line in content.split(b"\r\n"):
        assert b"\r" not in line and b"\n" not in line and b"\0" not in line, line
        assert len(line) <= 998, line


def check_header(mail: EmailMessage, to: str) -> None:
    for name in ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"):
        assert len(mail.get_all(name, [])) == 1, f"{name} stands once"
    assert mail["From"].addresses[0].username == "MAILER-DAEMON"
    assert [a.addr_spec for a in mail["To"].addresses] == [to]
    assert mail["Auto-Submitted"] == "auto-replied"  # RFC 3834 5
    assert mail["MIME-Version"] == "1.0"
    assert re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", mail["Message-ID"].strip())
    assert re.fullmatch(DATE, mail["Date"]) and parsedate_to_datetime(mail["Date"])
    assert mail["In-Reply-To"] == mail["References"]
    assert mail["Subject"].isprintable() and len(mail["Subject"]) > 10
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"


def raw_parts(content: bytes, boundary: str) -> list[bytes]:
    mark = b"\r\n--" + boundary.encode()
    pieces = content.split(mark)
    assert pieces[-1] == b"--\r\n", "the last boundary ends the message"
    for piece in pieces[1:-1]:
        assert piece.startswith(b"\r\n")
    return [piece[2:] for piece in pieces[1:-1]]


def head_of(part: bytes) -> dict[str, str]:
    head = part.split(b"\r\n\r\n", 1)[0].decode("ascii")
    lines = [line.split(": ", 1) for line in re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")]
    names = [name.lower() for name, _ in lines]
    assert len(set(names)) == len(names)
    return {name.lower(): value for name, value in lines}


def body_of(part: bytes) -> bytes:
    return part.split(b"\r\n\r\n", 1)[1]


def read_status(body: bytes, utf8: bool) -> tuple[dict[str, str], list[dict[str, str]]]:
    text = body.decode("utf-8" if utf8 else "ascii")
    groups = [group.removesuffix("\r\n") for group in text.split("\r\n\r\n") if group.strip()]
    assert len(groups) >= 2, "fields about the message, then those about a recipient at least"
    of_message = read_fields(groups[0], OF_MESSAGE)
    assert "Reporting-MTA" in of_message
    recipients = [read_fields(group, OF_RECIPIENT) for group in groups[1:]]
    for fields in recipients:
        assert {"Final-Recipient", "Action", "Status"} <= set(fields), fields
        action = fields["Action"]
        assert fields["Status"][0] in CLASSES[action], fields
        assert ("Will-Retry-Until" in fields) == (action == "delayed"), fields
    return of_message, recipients


def read_fields(group: str, grammar: dict[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in re.sub(r"\r\n[ \t]+", " ", group).split("\r\n"):
        found = re.fullmatch(r"([A-Za-z][A-Za-z\-]*): (\S.*)", line)
        assert found, f"this is no field: {line!r}"
        name, value = found.groups()
        assert name in grammar, f"a field that is not known here: {line!r}"
        assert name not in fields, f"{name} stands twice"
        assert re.fullmatch(grammar[name], value), f"not what {name} may be: {value!r}"
        assert value.isprintable()
        if grammar[name] == DATE:
            parsedate_to_datetime(value)
        fields[name] = value
    return fields


def check_text(text: str) -> None:
    for line in text.splitlines():
        assert line.isprintable() or line == "", line
