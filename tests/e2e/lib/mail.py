"""mail: messages for tests, and the one change that Postern makes to them."""


def make_message(
    subject: str = "a test", body: bytes = b"Hello.\r\n", *, headers: bytes = b""
) -> bytes:
    """A small, well-formed message as it travels: every line ends in CRLF."""
    return (
        b"From: A <a@source.example>\r\nTo: B <b@sink.example>\r\nSubject: "
        + subject.encode()
        + b"\r\n"
        + headers
        + b"\r\n"
        + body
    )


def split_trace(content: bytes) -> tuple[bytes, bytes]:
    """Divides what arrived into the first header field with its folded lines, which must be the
    trace header, and the rest, which must be what was sent."""
    end = content.index(b"\r\n") + 2
    while content[end : end + 1] in (b" ", b"\t"):
        end = content.index(b"\r\n", end) + 2
    trace = content[:end]
    assert trace.startswith(b"Received: "), content[:200]
    return trace, content[end:]
