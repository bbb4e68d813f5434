"""Sends calls of harness/call_maker.py, many at once, and judges every reply and, between them, the state."""

import collections
import queue
import threading
import time

import grpc

from harness.api import ApiError, READY
from harness.call_maker import OTHERS

IN_FLIGHT = 48
STREAMS_AT_ONCE = 4
STREAM_MESSAGES = 5
STREAM_SECONDS = 0.3
# AcquireRead may wait for a minute, by the caller's own wish.
CALL_SECONDS = 5.0
WAITING = ("AcquireRead",)
# Without a reason from the server: gRPC's own refusals of what is no message, or too big for one.
GRPC_REFUSES = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED)
NEVER = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS)
SHOWN_SHARDS = 64


def unknown_values(message):
    """Values of enums that the protos do not know, as FIELD=NUMBER: somebody sent them, and they were kept."""
    found = []
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else [value]:
                found += unknown_values(inner)
        elif field.enum_type is not None:
            known = field.enum_type.values_by_number
            found += [f"{field.name}={n}" for n in (value if field.is_repeated else [value]) if n not in known]
    return found


class Barrage:
    """Counts what came back by method and code; `problems` is empty as long as all is well."""

    def __init__(self, address, maker, call_seconds=CALL_SECONDS, credentials=None):
        self.maker = maker
        self.seen = collections.Counter()
        self.problems = []
        self.slowest = 0.0
        self._call_seconds = call_seconds
        # Channels of their own, so that one connection's limit of streams is no limit of the barrage.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        if credentials is None:
            self._channels = [grpc.insecure_channel(address, options=options) for _ in range(3)]
        else:
            self._channels = [grpc.secure_channel(address, credentials, options=options) for _ in range(3)]
        self._unary = {}
        self._done = queue.SimpleQueue()
        self._in_flight = 0
        self._streams = threading.BoundedSemaphore(STREAMS_AT_ONCE)
        self._threads = []

    def close(self):
        for channel in self._channels:
            channel.close()

    def codes(self):
        """How often each code came back, whatever the method."""
        return {code: sum(n for (_, other), n in self.seen.items() if other == code) for _, code in self.seen}

    def send(self, count):
        """Sends so many calls, and returns when each has its reply."""
        for number in range(count):
            call = self.maker.next()
            channel = self._channels[number % len(self._channels)]
            if call.streams:
                self._open(channel, call)
                continue
            if self._in_flight >= IN_FLIGHT:
                self._take()
            self._in_flight += 1
            self._start(number % len(self._channels), call)
        while self._in_flight:
            self._take()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self, channel, call):
        key = (channel, call.path)
        if key not in self._unary:
            self._unary[key] = self._channels[channel].unary_unary(call.path)
        begun = time.monotonic()
        future = self._unary[key].future(call.request, timeout=self._call_seconds)
        future.add_done_callback(lambda done: self._done.put((call, done, time.monotonic() - begun)))

    def _take(self):
        # A call that does not even come back at its deadline would hang here, not there.
        call, done, seconds = self._done.get(timeout=4 * self._call_seconds)
        self._in_flight -= 1
        code = done.code()
        self.seen[call.method.name, code.name] += 1
        if call.method.name not in WAITING:
            self.slowest = max(self.slowest, seconds)
        if code == grpc.StatusCode.OK:
            reply = call.method.output_type._concrete_class.FromString(done.result())
            self.maker.learn(call, reply)
            strange = unknown_values(reply)
            if strange:
                self.problems.append(f"{call}: the reply has {strange}")
        else:
            self._judge(call, ApiError(call.method.name, done))

    def _judge(self, call, error):
        if error.code == grpc.StatusCode.DEADLINE_EXCEEDED and call.method.name in WAITING:
            return
        if error.reason and error.code not in NEVER:
            return
        if not error.reason and error.code in GRPC_REFUSES and (not call.decodable or len(call.request) > 4 << 20):
            return
        self.problems.append(f"{call}: {error}")

    def _open(self, channel, call):
        """A stream: a few messages are read, or none, then it is given up."""
        self._streams.acquire()
        reads = self.seen.total() % 3 != 0
        stream = channel.unary_stream(call.path)(call.request, timeout=STREAM_SECONDS)

        def follow():
            try:
                for number, _ in enumerate(stream if reads else ()):
                    if number >= STREAM_MESSAGES:
                        break
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._judge(call, ApiError(call.method.name, error))
            finally:
                stream.cancel()
                self._streams.release()

        thread = threading.Thread(target=follow)
        thread.start()
        self._threads.append(thread)
        self.seen[call.method.name, "stream"] += 1


def check_barrier(api):
    """READY exactly where every replica that is required is counted, at one revision; returns how many it compared."""
    compared = 0
    for listed in api.paged(api.assemblies.ListAssemblies, "assemblies"):
        for _ in range(20):
            found = _states_at_one_revision(api, listed.name)
            if found is not None:
                break
        else:
            continue
        assembly, shards = found
        compared += 1
        short = [status.shard for status in shards if status.replicas_ready < status.replicas_required]
        counted_dead = [
            (status.shard, replica.node)
            for status in shards
            for replica in status.replicas
            if replica.counted and not replica.node_live
        ]
        assert not counted_dead, f"{assembly.name} counts nodes that are lost: {counted_dead[:5]}"
        if assembly.state == READY:
            assert not short, f"{assembly.name} is READY without {short[:5]}: {assembly}"
    return compared


def _states_at_one_revision(api, name):
    """(assembly, its first shards), or None where something changed in between or it is gone."""
    try:
        assembly = api.assemblies.GetAssembly(name=name).assembly
        shards = [
            api.assemblies.GetShardStatus(name=name, shard=shard)
            for shard in range(min(assembly.shard_count, SHOWN_SHARDS))
        ]
        same = api.assemblies.GetAssembly(name=name).assembly == assembly
    except ApiError:
        return None
    return (assembly, shards) if same else None


def check_others(api):
    """What belongs to others is as it was."""
    assembly = api.assemblies.GetAssembly(name=OTHERS["assembly"]).assembly
    assert assembly.state == READY, assembly
    assert api.models.GetModelVersion(name=OTHERS["model_version"]).model_version.shard_count
