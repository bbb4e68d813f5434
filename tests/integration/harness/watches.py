"""Watches that remember what they were sent, and the six promises of a watch checked on it.

The twin of tests/support/watch_validators.h: each check returns what is wrong, or "".
"""

import threading
from dataclasses import dataclass, field

import grpc
from harness.api import ApiError
from harness.conditions import eventually


@dataclass
class Record:
    """One message, or the part of it that is of one revision."""

    revision: int
    complete: bool = False
    progress: bool = False
    items: list = field(default_factory=list)


@dataclass
class History:
    """One watch: it was resumed after `start`, or its snapshot was of it."""

    start: int
    messages: list = field(default_factory=list)

    def safe(self):
        """The last revision from which the watch can be resumed."""
        return max([self.start] + [m.revision for m in self.messages if m.complete or m.progress])

    def told(self):
        told = {}
        for message in self.messages:
            told.setdefault(message.revision, set()).update(message.items)
        return told


def _missing(told, truth, after, upto):
    for revision in sorted(truth):
        if after < revision <= upto:
            for item in truth[revision]:
                if item not in told.get(revision, ()):
                    return f"{item!r} of revision {revision} was not sent"
    return ""


def check_ordered(history):
    """Revisions never go back, and none goes on after its end."""
    last, ended = history.start, True
    for message in history.messages:
        if message.revision < last or (message.revision == last and ended and not message.progress):
            return f"ordered: revision {message.revision} after {last}"
        last, ended = message.revision, message.complete or message.progress
    return ""


def check_unique(history):
    """Nothing comes twice, and nothing that was before the start."""
    seen = set()
    for message in history.messages:
        for item in message.items:
            if message.revision <= history.start or (message.revision, item) in seen:
                return f"unique: {item!r} of revision {message.revision} was sent before"
            seen.add((message.revision, item))
    return ""


def check_reliable(history, truth):
    """Nothing is missing up to the last safe revision, and nothing is made up."""
    told = history.told()
    missing = _missing(told, truth, history.start, history.safe())
    if missing:
        return f"reliable: {missing}"
    for revision, items in told.items():
        for item in items:
            if item not in truth.get(revision, ()):
                return f"reliable: {item!r} of revision {revision} never happened"
    return ""


def check_atomic(history, truth):
    """A revision that is declared complete is, and none is left before it is."""
    told, open_revision = {}, 0
    for message in history.messages:
        if message.progress:
            continue
        if open_revision not in (0, message.revision):
            missing = _missing(told, truth, open_revision - 1, open_revision)
            if missing:
                return f"atomic: {missing} before the next revision"
        told.setdefault(message.revision, set()).update(message.items)
        open_revision = 0 if message.complete else message.revision
        missing = message.complete and _missing(told, truth, message.revision - 1, message.revision)
        if missing:
            return f"atomic: {missing} when it was complete"
    return ""


def check_bookmarkable(history, truth):
    """At a progress message everything up to its revision was sent, and what follows is newer."""
    told, bookmark = {}, 0
    for message in history.messages:
        if message.revision < bookmark or (message.revision == bookmark and message.items):
            return f"bookmarkable: revision {message.revision} after the bookmark {bookmark}"
        told.setdefault(message.revision, set()).update(message.items)
        if message.progress:
            bookmark = message.revision
            missing = _missing(told, truth, history.start, bookmark)
            if missing:
                return f"bookmarkable: {missing} before {bookmark}"
    return ""


def check_resumable(histories, truth):
    """Watches that were resumed one after the other send what one watch would."""
    joined = History(histories[0].start)
    for i, history in enumerate(histories):
        if i > 0 and history.start != histories[i - 1].safe():
            return f"resumable: resumed after {history.start}, not after {histories[i - 1].safe()}"
        last = i + 1 == len(histories)
        joined.messages += [m for m in history.messages if last or m.revision <= history.safe()]
    wrong = check_unique(joined) or check_reliable(joined, truth)
    return f"resumable: {wrong}" if wrong else ""


def check_watches(histories, truth):
    """Fails the test when a promise is broken, over watches of which each resumes the one before."""
    for history in histories:
        for wrong in (
            check_ordered(history),
            check_unique(history),
            check_reliable(history, truth),
            check_atomic(history, truth),
            check_bookmarkable(history, truth),
        ):
            assert not wrong, wrong
    wrong = check_resumable(histories, truth)
    assert not wrong, wrong


def records_of_events(message):
    """The records of one WatchEventsResponse, which may be of many revisions."""
    records = []
    for event in message.events:
        if not records or records[-1].revision != event.revision:
            if records:
                records[-1].complete = True
            records.append(Record(event.revision))
        records[-1].items.append(event.SerializeToString(deterministic=True))
    if message.progress or not records or message.revision > records[-1].revision:
        if records:
            records[-1].complete = True
        records.append(Record(message.revision, message.complete, message.progress))
    else:
        records[-1].complete = message.complete
    return records


def records_of_assembly(message):
    """The record of one WatchAssemblyResponse that is not a snapshot."""
    if message.progress:
        return [Record(message.revision, progress=True)]
    return [Record(message.revision, True, False, [message.assembly.SerializeToString(deterministic=True)])]


def records_of_assignments(message):
    """The record of one WatchAssignmentsResponse that is not a snapshot."""
    items = [f"-{gone.assembly}/{gone.shard}" for gone in message.unassigned]
    items += [f"+{given.assembly}/{given.shard.index}@{given.generation}" for given in message.assigned]
    return [Record(message.revision, message.complete, message.progress, items)]


class Watcher(threading.Thread):
    """Reads one watch until it ends or stop()."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self._stream = stream
        self.messages, self.error = [], None
        self.start()

    def run(self):
        try:
            for message in self._stream:
                self.messages.append(message)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                self.error = ApiError("watch", error)

    def await_revision(self, revision):
        """Until everything up to the revision was sent."""

        def there():
            assert not self.error, str(self.error)
            return self.messages and self.messages[-1].revision >= revision

        eventually(there, f"the watch reaches revision {revision}")

    def stop(self):
        self._stream.cancel()
        self.join(20)
        assert not self.is_alive()
        return self.messages

    def history(self, start, records_of):
        history = History(start)
        for message in list(self.messages):
            history.messages += records_of(message)
        return history
