# SPDX-License-Identifier: MIT
"""HTTP/1 on the wire: exact bytes out, a strict reader in.

Nothing here repairs anything: whatever RFC 9112 does not allow raises, so that a
sloppy answer of weir fails the test that saw it.
"""
import hashlib
import os
import re
import socket
import struct
import time

SLOW = 2 if os.environ.get("WEIR_SLOW") == "1" else 1
# What should come at once may take so long, in seconds: a busy machine is no fault of weir's.
PATIENCE = 30
TIMEOUT = PATIENCE * SLOW
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class WireError(AssertionError):
    """The peer broke the protocol."""


class Truncated(WireError):
    """The connection ended inside a message."""


class Closed(WireError):
    """The connection ended where a message could have begun."""


class Headers(list):
    """(name, value) pairs in wire order, str, Latin-1."""

    def all(self, name):
        return [v for n, v in self if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else default

    def __contains__(self, name):
        return bool(self.all(name))


class Message:
    """A request or a response, as read."""

    def __init__(self, start, headers, raw_head):
        self.start = start
        self.headers = headers
        self.raw_head = raw_head
        self.body = b""
        self.size = 0
        self.sha256 = None
        self.trailers = Headers()
        self.framing = None
        self.infos = []

    def get(self, name, default=None):
        return self.headers.get(name, default)


class Response(Message):
    @property
    def status(self):
        return int(self.start[1])

    @property
    def version(self):
        return self.start[0]

    @property
    def reason(self):
        return self.start[2]

    def json(self):
        import json
        return json.loads(self.body)

    def __repr__(self):
        return f"<Response {self.start} {self.headers} {self.body[:200]!r}>"


class Request(Message):
    @property
    def method(self):
        return self.start[0]

    @property
    def target(self):
        return self.start[1]

    @property
    def version(self):
        return self.start[2]

    def __repr__(self):
        return f"<Request {self.start} {self.headers} {self.size} bytes>"


def request(method="GET", target="/", headers=(), body=b"", host="weir.test", version="1.1",
            length=True):
    """The bytes of a request; `headers` is a list of pairs, bytes and str both work."""
    lines = [f"{method} {target} HTTP/{version}".encode("latin-1")]
    if host is not None:
        lines.append(b"Host: " + host.encode())
    for name, value in headers:
        lines.append(_bytes(name) + b": " + _bytes(value))
    if body and length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(pieces, trailers=()):
    """A chunked body out of `pieces`."""
    out = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p)
    lines = b"".join(_bytes(n) + b": " + _bytes(v) + b"\r\n" for n, v in trailers)
    return out + b"0\r\n" + lines + b"\r\n"


def _bytes(text):
    return text if isinstance(text, bytes) else str(text).encode("latin-1")


def connect_socket(address, timeout=TIMEOUT, rcvbuf=None):
    """`address` is a port on 127.0.0.1, (host, port), or the path of a unix socket."""
    if isinstance(address, int):
        address = ("127.0.0.1", address)
    if isinstance(address, (str, os.PathLike)):
        family = socket.AF_UNIX
        address = str(address)
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


class Wire:
    """One connection, seen from either side."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = b""
        self.received = 0
        self.eof = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- bytes ----

    def send(self, *data):
        for piece in data:
            self.sock.sendall(_bytes(piece))
        return self

    def fill(self):
        """More bytes into the buffer; False at the end of the stream."""
        data = self.sock.recv(262144)
        self.received += len(data)
        self.buf += data
        self.eof = not data
        return bool(data)

    def take(self, n):
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def line(self):
        """One line without its CRLF."""
        while b"\n" not in self.buf:
            if not self.fill():
                raise Truncated(f"ended inside a line: {self.buf!r}")
        line = self.take(self.buf.index(b"\n") + 1)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise WireError(f"bad line end: {line!r}")
        return line[:-2]

    def exactly(self, n, sink):
        while n:
            if not self.buf and not self.fill():
                raise Truncated(f"{n} bytes of the body are missing")
            piece = self.take(n)
            n -= len(piece)
            sink(piece)

    def to_end(self, sink):
        while True:
            if self.buf:
                sink(self.take(len(self.buf)))
            try:
                if not self.fill():
                    return
            except ConnectionResetError as reset:
                raise Truncated("reset inside a close-delimited body") from reset

    # ---- messages ----

    def fields(self):
        headers, raw = Headers(), b""
        while line := self.line():
            raw += line + b"\r\n"
            name, colon, value = line.partition(b":")
            value = value.strip(b" \t")
            if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
                raise WireError(f"bad field line: {line!r}")
            headers.append((name.decode("latin-1"), value.decode("latin-1")))
        return headers, raw

    def head(self, kind):
        if not self.buf and not self.fill():
            raise Closed("closed before a message")
        start = self.line()
        headers, raw = self.fields()
        return kind(start.decode("latin-1").split(" ", 2), headers, start + b"\r\n" + raw)

    def body(self, msg, framing, keep):
        digest, pieces = hashlib.sha256(), []

        def sink(piece):
            msg.size += len(piece)
            digest.update(piece)
            if keep:
                pieces.append(piece)
        msg.framing = framing
        try:
            if framing == "chunked":
                self.chunks(msg, sink)
            elif framing == "close":
                self.to_end(sink)
            elif framing != "none":
                self.exactly(framing, sink)
        finally:
            msg.body = b"".join(pieces)
            msg.sha256 = digest.hexdigest()
        return msg

    def chunks(self, msg, sink):
        while True:
            line = self.line()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}(;.*)?", line):
                raise WireError(f"bad chunk size: {line!r}")
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            self.exactly(size, sink)
            if self.line():
                raise WireError("no CRLF after a chunk")
        msg.trailers, _ = self.fields()

    @staticmethod
    def declared(headers):
        """Content-Length, "chunked", or None."""
        lengths, codings = headers.all("content-length"), headers.all("transfer-encoding")
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            raise WireError(f"ambiguous framing: {headers}")
        if codings:
            if codings[0].lower() != "chunked":
                raise WireError(f"unexpected coding: {codings}")
            return "chunked"
        if lengths:
            if not lengths[0].isdigit():
                raise WireError(f"bad length: {lengths}")
            return int(lengths[0])
        return None

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Client(Wire):
    """The client's side of a connection."""

    def __init__(self, address, timeout=TIMEOUT, rcvbuf=None):
        super().__init__(connect_socket(address, timeout, rcvbuf))

    def end_direction(self):
        """shutdown(SHUT_WR): weir waits half_closed for what it still owes."""
        self.sock.shutdown(socket.SHUT_WR)

    def response_head(self):
        msg = self.head(Response)
        if not re.fullmatch(r"HTTP/1\.[01]", msg.start[0]) or len(msg.start) != 3 or \
                not re.fullmatch(r"[1-5]\d\d", msg.start[1]):
            raise WireError(f"bad status line: {msg.start}")
        return msg

    def response(self, method="GET", keep=True):
        """The next final response; the 1xx before it are in .infos."""
        infos = []
        while True:
            msg = self.response_head()
            if msg.status >= 200 or msg.status == 101:
                break
            if self.declared(msg.headers) is not None:
                raise WireError(f"framing in a {msg.status}")
            infos.append(msg)
        msg.infos = infos
        declared = self.declared(msg.headers)
        if method == "HEAD" or msg.status in (101, 204, 304):
            return self.body(msg, "none", keep)
        return self.body(msg, "close" if declared is None else declared, keep)

    def info(self):
        """The next response head, which must be a 1xx."""
        msg = self.response_head()
        assert 100 <= msg.status < 200, msg
        return msg

    def ask(self, method="GET", target="/", headers=(), body=b"", keep=True, **kwargs):
        self.send(request(method, target, headers, body, **kwargs))
        return self.response(method, keep)

    def assert_closed(self, timeout=TIMEOUT):
        """Nothing more comes, and the connection ends (by FIN or RST)."""
        self.sock.settimeout(timeout)
        try:
            while self.fill():
                pass
        except ConnectionResetError:
            pass
        except socket.timeout:
            raise AssertionError("the connection is still open") from None
        assert not self.buf, f"unexpected bytes: {self.buf[:300]!r}"

    def assert_open(self, seconds=0.05):
        """No byte and no end within `seconds`."""
        self.sock.settimeout(seconds)
        try:
            more = self.fill()
        except socket.timeout:
            return
        finally:
            self.sock.settimeout(TIMEOUT)
        raise AssertionError(f"unexpected {'bytes ' + repr(self.buf[:200]) if more else 'end'}")


class Peer(Wire):
    """A backend's side of a connection, used by scripted backends."""

    def __init__(self, sock, backend):
        super().__init__(sock)
        self.backend = backend

    def fill(self):
        before = self.received
        more = super().fill()
        self.backend.count_bytes(self.received - before)
        return more

    def request_head(self):
        """The next request head, None at the end of the connection."""
        try:
            msg = self.head(Request)
        except (Closed, ConnectionError):
            return None
        if len(msg.start) != 3:
            raise WireError(f"bad request line: {msg.start}")
        self.backend.count_request(msg)
        return msg

    def request_body(self, msg):
        declared = self.declared(msg.headers)
        return self.body(msg, "none" if declared is None else declared, True)

    def request(self):
        msg = self.request_head()
        return msg and self.request_body(msg)

    def respond(self, body=b"ok\n", status=200, headers=()):
        lines = [b"HTTP/1.1 %d Status" % status]
        lines += [_bytes(n) + b": " + _bytes(v) for n, v in headers]
        lines.append(b"Content-Length: %d" % len(body))
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def until_end(self):
        """Reads until the other side closes; what came is counted and dropped."""
        try:
            while self.fill():
                self.buf = b""
        except OSError:
            pass


def full_pipe():
    """(reader, writer): whoever writes waits until somebody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def relay(source, sink, keep=None):
    """All that comes from one socket goes to the other, and so does the end; keep(data) sees it."""
    try:
        while data := source.recv(65536):
            if keep:
                keep(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def at_best(measure, most, tries=30):
    """The least of what measure() gives gets to `most`: a busy machine only ever adds to it."""
    seen = []
    while not seen or min(seen) > most:
        assert len(seen) < tries, (min(seen), most)
        seen.append(measure())


def wait_for(condition, timeout=PATIENCE, what=None):
    """The first true value of condition(), polled; fails after `timeout` seconds, or PATIENCE."""
    limit = max(timeout, PATIENCE) * SLOW
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit} s: {what or condition}")
        time.sleep(0.01)
