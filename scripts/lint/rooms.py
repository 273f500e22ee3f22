"""The borders between rooms, as the table of ARCHITECTURE.md draws them."""

import fnmatch
import re
from dataclasses import dataclass, field

ARCHITECTURE = "ARCHITECTURE.md"
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')

# Which files may include a library's headers: it stands behind one room's header.
LIBRARIES = {
    r"event2/.*": r"src/net/loop\.c",
    r"unbound\.h": r"src/net/.*",
    r"openssl/(ssl|tls1|bio)\.h": r"src/tls/.*",
    r"sqlite3\.h": r"src/(.*/store_[^/]*|settings/store[^/]*|tracking/store[^/]*)",
    r"llhttp\.h": r"src/http/.*",
    r"curl/.*": r"src/http/.*",
    r"(seccomp|linux/landlock)\.h": r"src/daemon/.*",
}

# Rooms that decide or parse: no file, socket, thread, clock or log in them.
PURE = ("smtp", "mime", "access", "policy")
IMPURE_HEADERS = re.compile(
    r"sys/(socket|epoll|eventfd|stat|select|wait)\.h"
    r"|(poll|fcntl|unistd|pthread|time|signal|dirent)\.h|base/(log|mailbox)\.h")
IMPURE_CALLS = re.compile(
    r"\b(clock_mono_ns|clock_wall_us|clock_gettime|fopen|getenv|printf|fprintf)\s*\(")


@dataclass
class Room:
    name: str
    rooms: set = field(default_factory=set)     # whole rooms it may include
    headers: set = field(default_factory=set)   # single headers, or patterns of them
    values_of: set = field(default_factory=set)  # rooms of which it may include the values only
    hidden: bool = False                        # nobody may include it


def _parse_cell(room, cell, above):
    if cell.startswith("everything"):
        room.rooms |= set(above)
        room.hidden = "included by nobody" in cell
        return
    if cell.startswith("all rooms above"):
        _, _, without = cell.partition("except")
        room.rooms |= set(above) - {name.strip() for name in without.split(",")}
        return
    for part in re.split(r",\s*(?![^()]*\))", cell):
        part = part.strip().removeprefix("and ").strip()
        if part.startswith("`"):
            for header in re.findall(r"`([^`]+)`", part):
                room.headers.add(header if "/" in header else "*/" + header)
        elif values := re.match(r"(\w+) \(values", part):
            room.values_of.add(values[1])
        elif part != "libc only":
            room.rooms.add(part)


def read_table(tree):
    """The rooms by name, in the table's order, and the value headers by room."""
    text = tree.text(ARCHITECTURE)
    rooms, values = {}, {}
    for row in re.finditer(r"^\| (\w+) \| [^|]* \| ([^|]*) \|$", text, re.M):
        if row[1] == "room":
            continue
        room = Room(row[1])
        _parse_cell(room, row[2].strip(), list(rooms))
        rooms[room.name] = room
    for line in re.finditer(r"^Values of (\w+): (.*?)\.$", text, re.M | re.S):
        values[line[1]] = set(re.findall(r"`([^`]+)`", line[2]))
    return rooms, values


def _may_include(room, header, rooms, values):
    target, _, name = header.partition("/")
    if target == room.name:
        return True
    if rooms[target].hidden:
        return False
    if target in room.rooms or any(fnmatch.fnmatchcase(header, p) for p in room.headers):
        return True
    return target in room.values_of and name in values.get(target, ())


def _includes(tree, pattern):
    for path in tree.matching(pattern):
        for number, line in tree.lines(path):
            if match := INCLUDE.match(line):
                yield path, number, match[1], match[2]


def borders(tree):
    """Includes go only where the table in ARCHITECTURE.md lets them."""
    rooms, values = read_table(tree)
    for path, number, kind, header in _includes(tree, r"src/\w+/.*\.[ch]"):
        room = rooms.get(path.split("/")[1])
        if kind != '"' or room is None:
            continue
        if header.partition("/")[0] not in rooms:
            yield f"{path}:{number}: {header} is not named by its room (\"room/file.h\")"
        elif not _may_include(room, header, rooms, values):
            yield f"{path}:{number}: {room.name} may not include {header} ({ARCHITECTURE})"


def libraries(tree):
    """Each library stays behind the room that wraps it."""
    for path, number, _, header in _includes(tree, r"src/.*\.[ch]"):
        for library, home in LIBRARIES.items():
            if re.fullmatch(library, header) and not re.fullmatch(home, path):
                yield f"{path}:{number}: {header} may be included by {home} only"


def purity(tree):
    """The rooms that parse and decide do no I/O and ask no clock."""
    pure = rf"src/({'|'.join(PURE)})/.*\.[ch]"
    for path, number, _, header in _includes(tree, pure):
        if IMPURE_HEADERS.fullmatch(header):
            yield f"{path}:{number}: {header} in a room that does no I/O"
    for path in tree.matching(pure):
        for number, line in enumerate(tree.code(path).split("\n"), 1):
            if match := IMPURE_CALLS.search(line):
                yield f"{path}:{number}: {match[1]}() in a room that does no I/O"


def table_is_true(tree):
    """Each room of the source tree stands in the table."""
    rooms, _ = read_table(tree)
    for name in sorted({p.split("/")[1] for p in tree.matching(r"src/\w+/.*\.[ch]")} - set(rooms)):
        yield f"{ARCHITECTURE}:1: no row for the room src/{name}"
    for room in rooms.values():
        for name in sorted((room.rooms | room.values_of) - set(rooms)):
            yield f"{ARCHITECTURE}:1: {room.name} names {name}, which is no room"
