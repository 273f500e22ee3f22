"""dns: a name server of the test's own, that knows what it is told.

    with Names({("sink.example", "MX"): ["10 mx.sink.example."],
                ("mx.sink.example", "A"): ["192.0.2.10"]}) as names: ...

`names.server` goes into the settings as resolver.servers. A name that has no record at all does not
exist; one without records of the type asked for has none. A rcode in place of records ("SERVFAIL")
is the answer, None is silence. Over UDP; nothing is signed, so `trust_anchor` must be "none".
"""

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


TRUNCATED = "TC"


class Names:
    def __init__(self, records: dict, host: str = "127.0.0.1"):
        self.host = host
        self.records = records  # may be changed while it runs
        self.asked: list[tuple[str, str]] = []
        self._stopping = threading.Event()

    def __enter__(self) -> "Names":
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self._socket.settimeout(0.1)
        self.server = f"{self.host}@{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    @property
    def settings(self) -> dict:
        return {"resolver": {"servers": [self.server], "trust_anchor": "none"}}

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                octets, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(dns.message.from_wire(octets))
            if answer:
                self._socket.sendto(answer.to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        found = self.records.get((name, kind), [])
        if found is None:
            return None
        answer = dns.message.make_response(query, recursion_available=True)
        if found == TRUNCATED:
            answer.flags |= dns.flags.TC
        elif isinstance(found, str):
            answer.set_rcode(dns.rcode.from_text(found))
        elif found:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
