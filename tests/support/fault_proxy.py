"""A proxy between an HTTP client and one HTTP server that breaks what a test asks for.

It reads requests, so that a fault can choose by number, method, path and range; what it doesn't touch goes through as it is,
bodies of both ways included. One connection to the server per connection from the client, on ports that the kernel gives.

    with FaultProxy(("127.0.0.1", port)) as proxy:
        proxy.fault = lambda request: Cut(after=1000) if request.number == 3 else None
"""

import dataclasses
import re
import socket
import threading

CHUNK = 64 << 10


@dataclasses.dataclass
class Request:
    number: int  # Of the proxy, from 0.
    method: str
    path: str
    first: int | None = None  # The range that is asked for, inclusive.
    last: int | None = None


@dataclasses.dataclass
class Cut:
    """Closes the connection after so many bytes of the reply's body; of its head, where `of_head`."""

    after: int
    of_head: bool = False


@dataclasses.dataclass
class Stall:
    """Sends no more after so many bytes of the body, and keeps the connection."""

    after: int


@dataclasses.dataclass
class CutRequest:
    """Closes both connections after so many bytes of the request's body."""

    after: int


@dataclasses.dataclass
class FlipRequest:
    """Flips a bit of the byte at this offset of the request's body."""

    at: int


@dataclasses.dataclass
class Late:
    """Passes the reply on so many seconds late."""

    seconds: float


@dataclasses.dataclass
class Replace:
    """Puts `text` in place of what `pattern` finds in the reply's head and body; it has the same length."""

    pattern: bytes
    text: bytes

    def of(self, reply):
        changed = re.sub(self.pattern, self.text, reply)
        assert len(changed) == len(reply), f"{self.pattern} and {self.text} differ in length"
        return changed


@dataclasses.dataclass
class Flip:
    """Flips a bit of the object's byte at this offset, where the reply has it."""

    at: int


@dataclasses.dataclass
class Resize:
    """Announces and sends so many bytes more, or fewer, than the server does."""

    by: int


@dataclasses.dataclass
class Throttle:
    bytes_per_second: int


@dataclasses.dataclass
class Answer:
    """Answers in place of the server."""

    status: int
    headers: tuple = ()
    body: bytes = b""


class Times:
    """`fault` for the first `count` requests that have `where` in their method and path, "PUT /a?b"; then nothing."""

    def __init__(self, count, where, fault):
        self.where, self.fault = where, fault
        self.left = count
        self._lock = threading.Lock()

    def __call__(self, request):
        with self._lock:
            if self.left == 0 or not has(request, self.where):
                return None
            self.left -= 1
        return self.fault


def first_of(*faults):
    """What the first of them chooses that chooses something."""
    return lambda request: next((found for fault in faults if (found := fault(request)) is not None), None)


def always(where, fault):
    return lambda request: fault if has(request, where) else None


def ever_since(where, fault):
    """For the first request that has `where`, and for everything after it."""
    begun = threading.Event()

    def choose(request):
        if has(request, where):
            begun.set()
        return fault if begun.is_set() else None

    return choose


def has(request, where):
    return where in f"{request.method} {request.path}"


class _Closed(Exception):
    pass


class FaultProxy:
    """Serves until the end of the `with`. `fault` may be set at any time; it is called for each request."""

    def __init__(self, upstream, fault=None):
        self.upstream = upstream
        self.fault = fault or (lambda request: None)
        self.requests = []
        self.body_bytes = 0
        self._lock = threading.Lock()
        self._open = set()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends all connections, and refuses others."""
        self._stopped.set()
        with self._lock:
            ends = [self._listener, *self._open]
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listener.close()

    def _accept(self):
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = None
        try:
            with self._lock:
                self._open.add(client)
            server = socket.create_connection(self.upstream)
            with self._lock:
                self._open.add(server)
            client_bytes, server_bytes = client.makefile("rb"), server.makefile("rb")
            while not self._stopped.is_set():
                self._exchange(client, client_bytes, server, server_bytes)
        except (_Closed, OSError, ValueError):
            pass
        finally:
            for end in (client, server):
                if end is not None:
                    with self._lock:
                        self._open.discard(end)
                    end.close()

    def _exchange(self, client, client_bytes, server, server_bytes):
        head = _read_head(client_bytes)
        request = self._note(head)
        fault = self.fault(request)
        sends = int(_header(head, b"Content-Length") or 0)
        asks_before = (_header(head, b"Expect") or b"").lower() == b"100-continue"
        if isinstance(fault, Answer):
            if not asks_before:
                client_bytes.read(sends)
            lines = [f"HTTP/1.1 {fault.status} Fault", *fault.headers, f"Content-Length: {len(fault.body)}", "", ""]
            client.sendall("\r\n".join(lines).encode() + fault.body)
            if asks_before:
                raise _Closed  # Whether the body comes all the same is the client's choice.
            return
        server.sendall(head)
        reply = _read_head(server_bytes) if asks_before else None
        if reply is None or _is_interim(reply):
            if reply is not None:
                client.sendall(reply)
            _forward_request(client_bytes, server, sends, fault)
            reply = _read_head(server_bytes)
            while _is_interim(reply):
                client.sendall(reply)
                reply = _read_head(server_bytes)
        self._reply(request, reply, client, server_bytes, fault)

    def _reply(self, request, reply, client, server_bytes, fault):
        if isinstance(fault, Late):
            self._stopped.wait(fault.seconds)
        if isinstance(fault, Replace):
            reply = fault.of(reply)
        has_body = request.method != "HEAD" and not re.match(rb"HTTP/1.1 (204|304)", reply)
        length = int(_header(reply, b"Content-Length") or 0) if has_body else 0
        if isinstance(fault, Resize) and has_body:
            reply = re.sub(rb"(?i)(Content-Length: )\d+", rb"\g<1>%d" % (length + fault.by), reply)
        if isinstance(fault, Cut) and fault.of_head:
            client.sendall(reply[: fault.after])
            raise _Closed
        client.sendall(reply)
        if has_body and (_header(reply, b"Transfer-Encoding") or b"").lower() == b"chunked":
            _forward_chunks(client, server_bytes, fault)
            return
        match = re.match(rb"bytes (\d+)-", _header(reply, b"Content-Range") or b"")
        self._body(client, server_bytes, length, int(match[1]) if match else 0, fault)

    def _note(self, head):
        method, path = head.split(b" ", 2)[:2]
        span = re.match(rb"bytes=(\d+)-(\d+)", _header(head, b"Range") or b"")
        with self._lock:
            request = Request(len(self.requests), method.decode(), path.decode())
            if span:
                request.first, request.last = int(span[1]), int(span[2])
            self.requests.append(request)
        return request

    def _body(self, client, server_bytes, length, offset, fault):
        sent = 0
        limit = length
        if isinstance(fault, (Cut, Stall)):
            limit = min(length, fault.after)
        if isinstance(fault, Resize):
            limit = length + min(fault.by, 0)
        while sent < limit:
            chunk = bytearray(server_bytes.read(min(CHUNK, limit - sent)))
            if not chunk:
                raise _Closed
            if isinstance(fault, Flip) and offset + sent <= fault.at < offset + sent + len(chunk):
                chunk[fault.at - offset - sent] ^= 1
            if isinstance(fault, Replace):
                chunk = fault.of(bytes(chunk))
            client.sendall(chunk)
            sent += len(chunk)
            with self._lock:
                self.body_bytes += len(chunk)
            if isinstance(fault, Throttle):
                self._stopped.wait(len(chunk) / fault.bytes_per_second)
        if isinstance(fault, Stall) and limit < length:
            self._stopped.wait()
        if isinstance(fault, Resize) and fault.by > 0:
            client.sendall(b"\0" * fault.by)
        if isinstance(fault, (Cut, Stall)) or (isinstance(fault, Resize) and limit < length):
            raise _Closed


def _is_interim(reply):
    return reply.startswith(b"HTTP/1.1 100")


def _forward_request(client_bytes, server, length, fault):
    limit = min(length, fault.after) if isinstance(fault, CutRequest) else length
    sent = 0
    while sent < limit:
        chunk = bytearray(client_bytes.read(min(CHUNK, limit - sent)))
        if not chunk:
            raise _Closed
        if isinstance(fault, FlipRequest) and sent <= fault.at < sent + len(chunk):
            chunk[fault.at - sent] ^= 1
        try:
            server.sendall(chunk)
        except OSError:
            return  # A server that refuses has said so before it closed.
        sent += len(chunk)
    if isinstance(fault, CutRequest):
        raise _Closed


def _forward_chunks(client, server_bytes, fault):
    """To the last one; what is short enough to be sent this way is not cut."""
    while True:
        line = server_bytes.readline()
        size = int(line.split(b";")[0] or b"0", 16)
        chunk = server_bytes.read(size + 2)
        client.sendall(line + (fault.of(chunk) if isinstance(fault, Replace) else chunk))
        if size == 0:
            return


def _read_head(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            raise _Closed
        head += line
    return head


def _header(head, name):
    match = re.search(rb"(?im)^" + re.escape(name) + rb":[ \t]*(.*?)\r$", head)
    return match[1] if match else None
