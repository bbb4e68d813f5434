"""The rules between folders: what each may include, that there is no circle, and that shared words are said once."""

import collections
import re

import cpp_text

Finding = collections.namedtuple("Finding", "path line rule message")

PRODUCT = ("storage", "server", "client")
REASONS = "storage/base/reasons.h"
LIMITS = "storage/base/limits.h"

_MAY_INCLUDE = re.compile(r"^May include: (.*?)\.$", re.MULTILINE | re.DOTALL)
_ROOM = re.compile(r"`([a-z_/]+)`")
_GENERATED = re.compile(r"(?:muster/(?:v1|store)|google/rpc|grpc/health)/")
_CONSTANT = re.compile(r"^\s*(?:inline )?(?:static )?constexpr [\w:]+ (k[A-Z]\w*)\b", re.MULTILINE)
_HEADER_CONSTANT = re.compile(r"^inline constexpr [\w:]+ (k[A-Z]\w*)\b", re.MULTILINE)
_REASON = re.compile(r'^inline constexpr char (k\w+)\[\] = "([A-Z0-9_]+)";', re.MULTILINE)
_LITERAL = re.compile(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)"')


def room_of(path):
    """`client/cli/main.cc` is in room client/cli; `server/main.cc` in server; generated code in proto."""
    if _GENERATED.match(path):
        return "proto"
    parts = path.split("/")
    if parts[0] not in PRODUCT:
        return None
    return "/".join(parts[:-1])


def included_rooms(sources):
    """{room: {included room: (path, line) of the first such include}} for {path: text}."""
    rooms = collections.defaultdict(dict)
    for path, text in sorted(sources.items()):
        room = room_of(path)
        if room is None:
            continue
        rooms[room]
        for line, include in cpp_text.includes(text):
            other = room_of(include)
            if other is not None and other != room:
                rooms[room].setdefault(other, (path, line))
    return rooms


def check_rooms(sources, readmes):
    """What a room includes and what its README says that it may include are the same, and there is no circle.

    `sources` and `readmes` are {path: text}; the README of room R is at R/README.md.
    """
    rooms = included_rooms(sources)
    for room, included in sorted(rooms.items()):
        readme = room + "/README.md"
        match = _MAY_INCLUDE.search(readmes.get(readme, ""))
        if match is None:
            yield Finding(readme, 1, "rooms", "lacks the line `May include: ….` that names the folders it may include")
            continue
        allowed = set(_ROOM.findall(match.group(1)))
        for other in sorted(included.keys() - allowed):
            path, line = included[other]
            yield Finding(path, line, "rooms", f"includes {other}, which {readme} does not allow")
        for other in sorted(allowed - included.keys()):
            yield Finding(readme, 1, "rooms", f"allows {other}, which nothing here includes")
    yield from check_circles({room: set(included) for room, included in rooms.items()})


def check_circles(arrows):
    """Names one circle of rooms for each room that is on one."""
    state = {}

    def visit(room, path):
        state[room] = "open"
        for other in sorted(arrows.get(room, ())):
            if state.get(other) == "open":
                circle = path[path.index(other) :] + [other]
                yield Finding(room, 1, "rooms", "is on a circle: " + " -> ".join(circle))
            elif other not in state:
                yield from visit(other, path + [other])
        state[room] = "done"

    for room in sorted(arrows):
        if room not in state:
            yield from visit(room, [room])


def check_words(sources):
    """No reason of an error is spelled outside its list, no shared limit or header's constant is defined twice."""
    reasons = {value: name for name, value in _REASON.findall(sources.get(REASONS, ""))}
    limits = set(_HEADER_CONSTANT.findall(sources.get(LIMITS, "")))
    defined = {}
    for path, text in sorted(sources.items()):
        if not path.startswith(tuple(top + "/" for top in PRODUCT)):
            continue
        clean = cpp_text.without_comments(text)
        if path != REASONS:
            for match in _LITERAL.finditer(clean):
                if match.group(1) in reasons:
                    yield Finding(path, cpp_text.line_of(clean, match.start()), "words",
                                  f'spells "{match.group(1)}"; say reasons::{reasons[match.group(1)]}')
        if path != LIMITS:
            for match in _CONSTANT.finditer(clean):
                if match.group(1) in limits:
                    yield Finding(path, cpp_text.line_of(clean, match.start(1)), "words",
                                  f"defines {match.group(1)} again; it is in {LIMITS}")
        if path.endswith(".h"):
            for match in _HEADER_CONSTANT.finditer(clean):
                name, line = match.group(1), cpp_text.line_of(clean, match.start(1))
                if path == REASONS:
                    continue
                if name in defined:
                    yield Finding(path, line, "words", f"defines {name}, which {defined[name]} defines, too")
                defined.setdefault(name, path)
