# SPDX-License-Identifier: MIT
"""routes[].auth.forward: a service says who may; it may hang, lie and stream without end."""
import socket
import ssl
import threading
import time

import hpack
import pytest

from backends import Scripted, refused_address
from certs import Authority
from h2peer import H2Server
from h2wire import GET, H2, post
from wire import TIMEOUT, chunked, request, wait_for


def service(answer):
    """A scripted auth service: `answer` gets each request and gives the bytes, or None to hang."""
    def handler(peer):
        while (msg := peer.request()) is not None:
            data = answer(msg)
            if data is None:
                time.sleep(30)
                return
            peer.send(data)
            if b"Connection: close" in data:
                return
    return Scripted(handler)


def ok(*fields, status="200 OK", body=b""):
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return (f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n").encode() + body


def conf(auth, **forward):
    """The pool `auth` beside `app`, and a route that asks it."""
    addresses = auth if isinstance(auth, list) else [auth.address]
    return {
        "pools": {"auth": {"backends": addresses, "retry": "off"}},
        "routes": [{"name": "api", "pool": "app",
                    "auth": {"forward": {"pool": "auth", "path": "/verify?x=1", "timeout": "20s",
                                         **forward}}}],
    }


@pytest.fixture
def start(weir, app):
    """weir before a sample app, and an auth service."""
    made = []

    def run(answer, backend=None, **forward):
        auth = answer if isinstance(answer, list) else service(answer)
        made.append(auth)
        keys = conf(auth, **forward)
        addresses = [backend.address] if backend else app().addresses
        keys["pools"]["app"] = {"backends": addresses}
        daemon = weir((), workers=1, **keys)
        daemon.auth = auth
        return daemon
    yield run
    for auth in made:
        if not isinstance(auth, list):
            auth.close()


def count(daemon, name):
    return daemon.admin.metrics()[f'weir_exchanges_total{{outcome="{name}"}}']


def fields_of(echo):
    return [(name.lower(), value) for name, value in echo.json()["headers"]]


def test_the_service_is_told_what_is_asked_and_2xx_goes_on_with_its_fields(start):
    daemon = start(lambda msg: ok(("X-User", "ann"), ("X-Group", "a"), ("x-group", "b"),
                                  ("X-Secret", "s"), ("Set-Cookie", "n=1"), status="204 Yes"),
                   copy=["X-User", "X-Group"])
    answer = daemon.ask("PUT", "/echo?q=1", host="shop.test", body=b"hello", headers=[
        ("X-User", "root"), ("x_user", "root"), ("Cookie", "sid=1"), ("If-None-Match", '"e"'),
        ("X-Forwarded-Method", "DELETE"), ("X-Forwarded-Uri", "/free"), ("Range", "bytes=0-1")])
    assert answer.status == 200 and answer.json()["body_length"] == 5
    assert "n=1" not in str(answer.headers), "what a 2xx sets is not for the client"
    got = fields_of(answer)
    assert [v for n, v in got if n == "x-user"] == ["ann"]
    assert [v for n, v in got if n == "x-group"] == ["a", "b"]
    assert "x-secret" not in dict(got) and "x_user" not in dict(got)
    assert dict(got)["cookie"] == "sid=1" and dict(got)["if-none-match"] == '"e"'
    asked, = daemon.auth.requests
    assert (asked.method, asked.target, asked.body) == ("GET", "/verify?x=1", b"")
    told = {name.lower(): value for name, value in asked.headers}
    assert told["x-forwarded-method"] == "PUT" and told["x-forwarded-uri"] == "/echo?q=1"
    assert told["x-forwarded-proto"] == "http" and told["x-forwarded-host"] == "shop.test"
    assert told["x-forwarded-for"] == "127.0.0.1" and told["host"] == "shop.test"
    assert told["cookie"] == "sid=1" and told["x-request-id"]
    for name in ("x-user", "x_user", "content-length", "if-none-match", "range"):
        assert name not in told, name


def test_what_a_regex_found_is_still_known_after_the_wait(start):
    """Many wait at once, and each has its own."""
    here = threading.Barrier(8)

    def answer(_):
        here.wait(TIMEOUT)
        return ok()
    daemon = start(answer)
    conf = daemon.conf
    conf["routes"][0] |= {"match": {"path_regex": "^/echo/(\\w+)$"}, "rewrite": {"path": "/echo"},
                          "request_headers": {"set": {"X-Word": "{1}"}}}
    conf["pools"]["auth"]["limits"] = {"requests": 8}
    daemon.reload(conf)
    clients = [daemon.connect() for _ in range(8)]
    for i, client in enumerate(clients):
        client.send(request("GET", f"/echo/word{i}"))
    words = [dict(fields_of(client.response()))["x-word"] for client in clients]
    assert words == [f"word{i}" for i in range(8)]


def test_what_clients_send_under_copied_names_is_dropped_when_nothing_is_copied(start):
    daemon = start(lambda msg: ok(), copy=["X-User"])
    got = fields_of(daemon.ask("GET", "/echo", headers=[("X-User", "root"), ("X-USER", "root")]))
    assert "x-user" not in dict(got)


def test_nor_does_a_trailer_say_it(start):
    backend = Scripted()
    daemon = start(lambda msg: ok(("X-User", "ann")), backend=backend, copy=["X-User"])
    with daemon.connect() as client:
        client.send(request("POST", "/", [("Transfer-Encoding", "chunked"), ("Trailer", "X-T")]),
                    chunked([b"abc"], trailers=[("X-T", "1"), ("X-User", "root")]))
        assert client.response().status == 200
    got, = backend.requests
    assert got.body == b"abc" and got.headers.all("X-User") == ["ann"]
    assert "root" not in str(got.__dict__)
    backend.close()


@pytest.mark.parametrize("status,fields,body", [
    ("302 Found", [("Location", "https://login.test/?to=x")], b"go"),
    ("401 No", [("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", "Basic realm=x")], b"who?"),
    ("403 No", [("Content-Type", "application/json")], b'{"no": true}' * 4000),
    ("500 Broken", [], b""),
    ("304 Not Modified", [], b""),
], ids=["302", "401", "403", "500", "304"])
def test_any_other_answer_goes_to_the_client(start, status, fields, body):
    fields = [*fields, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Internal", "x"),
              ("Retry-After", "7"), ("Server", "auth")]
    data = ok(*fields, status=status, body=body)
    if status.startswith("304"):
        data = b"HTTP/1.1 304 x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nRetry-After: 7\r\n\r\n"
    daemon = start(lambda msg: data)
    with daemon.connect() as client:
        for _ in range(2):
            answer = client.ask("GET", "/x")
            assert answer.status == int(status[:3]) and answer.body == body
            assert answer.headers.all("Set-Cookie") == ["a=1", "b=2"]
            for name, value in fields[:-5]:
                assert value in answer.headers.all(name)
            assert answer.get("Retry-After") == "7" and answer.get("X-Internal") is None
    with H2(daemon.port) as peer:
        answer = peer.ask(1, GET)
        assert answer.status == int(status[:3]) and bytes(answer.body) == body
    wait_for(lambda: count(daemon, "unauthorized") == 3)
    assert daemon.backends("app")[next(iter(daemon.backends("app")))]["requests"] == 0
    assert sum(r["requests"] for r in daemon.backends("auth").values()) == 3


def endless(peer):
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        while True:
            peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    except OSError:
        pass


def says(data, then=None):
    def handler(peer):
        if peer.request() is not None and data:
            peer.send(data)
        if then == "reset":
            peer.reset()
        elif then == "hang":
            time.sleep(3)
    return handler


LIES = {
    "hangs": (says(b"", "hang"), 504, "auth_timeout"),
    "closes": (says(b""), 502, "auth_failed"),
    "resets": (says(b"", "reset"), 502, "auth_failed"),
    "speaks no HTTP": (says(b"+OK hello\r\n\r\n"), 502, "auth_failed"),
    "cuts a 200 off": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"), 502, "auth_failed"),
    "stops in a 200": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", "hang"), 504,
                       "auth_timeout"),
    "has two lengths": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
                        502, "auth_failed"),
    "switches protocols": (says(b"HTTP/1.1 101 x\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n"), 502,
                           "auth_failed"),
    "only says 100": (says(b"HTTP/1.1 100 Continue\r\n\r\n" * 50), 502, "auth_failed"),
    "has a giant head": (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"), 502,
                         "auth_failed"),
    "streams without end": (endless, 502, "auth_failed"),
}


@pytest.mark.parametrize("lie", LIES)
def test_who_is_no_auth_service_is_not_believed(start, lie):
    handler, status, outcome = LIES[lie]
    auth = Scripted(handler)
    daemon = start([auth.address], timeout="700ms" if outcome == "auth_timeout" else "20s")
    answer = daemon.ask("GET", "/x", headers=[("X-Request-ID", "me")])
    assert answer.status == status, answer
    assert b"auth service" in answer.body and answer.get("X-Request-ID") == "me"
    wait_for(lambda: count(daemon, outcome) == 1)
    assert sum(r["requests"] for r in daemon.backends("app").values()) == 0
    wait_for(lambda: "route api: the auth service does not answer: " in daemon.stderr)
    daemon.conf["routes"][0]["auth"]["forward"]["fail"] = "open"
    daemon.reload(daemon.conf)
    assert daemon.ask("GET", "/x", headers=[("X-User", "root")]).status == 200
    auth.close()


# ---- nothing but a whole 2xx lets anybody in ----

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def with_head(*lines, body=b""):
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", body])


NO_ANSWERS = [
    *[WHOLE[:n] for n in range(len(WHOLE))],
    *[bytes([c]) + WHOLE for c in b"\n\0 \tx\xff"],
    *[b"x" * n + WHOLE for n in (2, 1000, 70_000)],
    *[WHOLE.replace(b"HTTP/1.1 200", line) for line in (
        b"HTTP/0.9 200", b"HTTP/2 200", b"HTTP/2.0 200", b"http/1.1 200", b"HTTP/1.1 2000",
        b"HTTP/1.1 0200", b"HTTP/1.1  200", b"HTTP/1.1\t200", b"HTTP/1.1 20", b"HTTP/1.1 +20",
        b"HTTP/1.1 2x0", b"HTTP/1.1 700", b"HTTP/1.1 99", b"HTTP/11 200", b"HTTP/1. 200",
        b"ICY 200", b"200", b"GET / HTTP/1.1\r\n\r\nHTTP/1.1 100", b"\0HTTP/1.1 200")],
    b"hello\n", b"<html>200 OK</html>\r\n\r\n", b"\r\n" * 1000, b"SSH-2.0-x\r\n", b"\x15\x03\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(range(256)) * 50,
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 5000 + WHOLE,
    b"HTTP/1.1 100 x\r\n\r\n" + WHOLE[:-1], b"HTTP/1.1 102 x\r\n\r\n" + b"x" + WHOLE,
    b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + WHOLE,
    b"HTTP/1.1 101 x\r\n\r\n" + WHOLE, WHOLE[:15], b"HTTP/1.1 200 " + b"x" * 70_000,
    *[with_head(b"Content-Length: " + n, body=b"hello") for n in (
        b"6", b"-5", b"+5", b"0x5", b"5 5", b"5, 6", b"5;", b"", b"99999999999999999999",
        b"5\r\nContent-Length: 6", b"5\r\nContent-Length : 5", b"70000")],
    *[with_head(line, b"Content-Length: 5", body=b"hello") for line in (
        b"A\0: b", b"A: b\0", b" A: b", b": b", b"A b", b"A : b", b"A: b\r\n c",
        b"A: b\rc: d", b"X: " + b"x" * 70_000)],
    *[with_head(b"Transfer-Encoding: " + coding, body=b"5\r\nhello\r\n0\r\n\r\n") for coding in (
        b"gzip", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;a", b"identity",
        b"chunked\r\nContent-Length: 5")],
    *[CHUNKED + body for body in (
        b"", b"5", b"5\r\n", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"5\r\nhelloX0\r\n\r\n",
        b"-1\r\n", b"x\r\n", b"ffffffffffffffffff\r\n", b"5\nhello\r\n0\r\n\r\n",
        b"0\r\nA\0: b\r\n\r\n", b"0\r\nbad\r\n\r\n", b"20000\r\n" + b"x" * 0x20000,
        b"\r\n", b"0x5\r\nhello\r\n0\r\n\r\n")],
]


def ends(kind):
    return {"close": lambda peer: None, "reset": lambda peer: peer.reset()}[kind]


def refuses_all(daemon, n, ask):
    """None of n questions gets anybody to the app."""
    for i in range(n):
        assert ask(i).status in (502, 504), i
    assert sum(row["requests"] for row in daemon.backends("app").values()) == 0
    wait_for(lambda: count(daemon, "auth_failed") + count(daemon, "auth_timeout") == n)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_only_a_whole_answer_counts(start, tmp_path, secure, end):
    """Each lie alone, and cut in two where it hurts."""
    context = None
    if secure:
        ca = Authority(tmp_path)
        pair = ca.issue("auth", ["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.pem, pair.key)

    def handler(peer):
        if context:
            peer.sock = context.wrap_socket(peer.sock, server_side=True)
        msg = peer.request()
        if msg is None:
            return
        data = NO_ANSWERS[int(msg.headers.get("X-Lie"))]
        cut = int(msg.headers.get("X-Cut"))
        peer.send(data[:cut])
        time.sleep(0.001)
        peer.send(data[cut:])
        ends(end)(peer)
    auth = Scripted(handler)
    daemon = start([auth.address], timeout="20s")
    if secure:
        daemon.conf["pools"]["auth"]["tls"] = {"ca": str(ca.pem), "sni": "localhost"}
        daemon.reload(daemon.conf)

    def ask(i):
        which, cut = i % len(NO_ANSWERS), (0, 16)[i // len(NO_ANSWERS)]
        return daemon.ask("GET", "/x", headers=[("X-Lie", str(which)), ("X-Cut", str(cut))])
    refuses_all(daemon, 2 * len(NO_ANSWERS), ask)
    auth.close()


OK_HEAD = [(":status", "200")]
H2_LIES = {
    "no status": lambda s, n: s.h2_head(n, [("x", "y")], end=True),
    "two": lambda s, n: s.h2_head(n, OK_HEAD * 2, end=True),
    "late": lambda s, n: s.h2_head(n, [("x", "y"), *OK_HEAD], end=True),
    "short": lambda s, n: s.h2_head(n, [(":status", "20")], end=True),
    "signed": lambda s, n: s.h2_head(n, [(":status", "+200")], end=True),
    "long": lambda s, n: s.h2_head(n, [(":status", "2000")], end=True),
    "blank": lambda s, n: s.h2_head(n, [(":status", " 200")], end=True),
    "101": lambda s, n: s.h2_head(n, [(":status", "101")]),
    "100 ends": lambda s, n: s.h2_head(n, [(":status", "100")], end=True),
    "100 and reset": lambda s, n: (s.h2_head(n, [(":status", "100")]), s.reset(n, 0)),
    "100 for ever": lambda s, n: [s.h2_head(n, [(":status", "103")]) for _ in range(500)],
    "upper case": lambda s, n: s.h2_head(n, [*OK_HEAD, ("X-User", "root")], end=True),
    "connection": lambda s, n: s.h2_head(n, [*OK_HEAD, ("transfer-encoding", "chunked")], end=True),
    "a nul": lambda s, n: s.h2_head(n, [*OK_HEAD, ("x", "a\0b")], end=True),
    "too short": lambda s, n: (s.h2_head(n, [*OK_HEAD, ("content-length", "9")]),
                               s.data(n, b"hello", end=True)),
    "too long": lambda s, n: (s.h2_head(n, [*OK_HEAD, ("content-length", "3")]),
                              s.data(n, b"hello", end=True)),
    "nothing of it": lambda s, n: s.h2_head(n, [*OK_HEAD, ("content-length", "3")], end=True),
    "reset after the head": lambda s, n: (s.h2_head(n, OK_HEAD), s.reset(n, 0)),
    "reset in the body": lambda s, n: (s.h2_head(n, OK_HEAD), s.data(n, b"x"), s.reset(n, 8)),
    "closed in the body": lambda s, n: (s.h2_head(n, OK_HEAD), s.data(n, b"x"), s.peer.close()),
    "goodbye": lambda s, n: (s.h2_head(n, OK_HEAD), s.close(0, n), s.peer.close()),
    "pseudo trailer": lambda s, n: (s.h2_head(n, OK_HEAD), s.h2_head(n, OK_HEAD, end=True)),
    "trailers go on": lambda s, n: (s.h2_head(n, OK_HEAD), s.h2_head(n, [("x", "y")]), s.peer.close()),
    "http/1": lambda s, n: s.peer.send(WHOLE),
    "garbage": lambda s, n: s.peer.send(bytes(range(256)) * 9),
}


class Liar(H2Server):
    def h2_head(self, number, fields, end=False):
        """Past all that the library would refuse to send."""
        block = hpack.Encoder().encode(fields)
        self.peer.send(len(block).to_bytes(3, "big") + bytes([1, 4 | end])
                       + number.to_bytes(4, "big") + block)

    def data(self, number, data, end=False):
        self.peer.send(len(data).to_bytes(3, "big") + bytes([0, end]) + number.to_bytes(4, "big")
                       + data)

    def reset(self, number, code):
        self.peer.send(b"\0\0\4\3\0" + number.to_bytes(4, "big") + code.to_bytes(4, "big"))


def test_only_a_whole_answer_counts_over_http2(start):
    names = list(H2_LIES)

    def handler(peer):
        server = Liar(peer)
        for number, req in server.requests():
            H2_LIES[names[int(req.get("x-lie"))]](server, number)
    auth = Scripted(handler)
    daemon = start([auth.address], timeout="2s")
    daemon.conf["pools"]["auth"]["protocol"] = "h2"
    daemon.reload(daemon.conf)
    refuses_all(daemon, len(names), lambda i: daemon.ask("GET", "/x", headers=[("X-Lie", str(i))]))
    auth.close()


@pytest.mark.parametrize("status", [200, 403])
def test_a_long_reason_is_told_or_not_but_stays_in_its_place(start, status):
    """Of many at once, each has its own answer."""
    reason = "why " * 1500

    def answer(msg):
        return ok(("X-User", msg.headers.get("X-Me")), status=f"{status} {reason}")
    daemon = start(answer, copy=["X-User"])
    daemon.conf["pools"]["auth"]["limits"] = {"requests": 16}
    daemon.reload(daemon.conf)
    for _ in range(5):
        clients = [daemon.connect() for _ in range(16)]
        for i, client in enumerate(clients):
            client.send(request("GET", "/echo", [("X-Me", f"me{i}")]))
        for i, client in enumerate(clients):
            got = client.response()
            assert got.status == status
            assert status != 200 or dict(fields_of(got))["x-user"] == f"me{i}"
            client.close()


def test_without_a_service_it_is_said_at_once(start):
    daemon = start([refused_address()])
    began = time.monotonic()
    assert daemon.ask().status in (502, 503)
    assert time.monotonic() - began < 15, "not only when its time is over"
    daemon.ctl("drain", "auth/" + next(iter(daemon.backends("auth"))), check=0)
    answer = daemon.ask()
    assert (answer.status, answer.get("Retry-After")) == (503, "1")


def test_retries_and_checks_of_its_pool_apply(weir, app, start):
    good = service(lambda msg: ok())
    keys = conf([refused_address(), good.address])
    keys["pools"]["auth"]["retry"] = {"attempts": 1}
    keys["pools"]["app"] = {"backends": app().addresses}
    daemon = weir((), **keys)
    assert [daemon.ask().status for _ in range(10)] == [200] * 10
    good.close()


def test_a_body_waits_and_who_leaves_is_forgotten(start):
    """The service decides before anything of the body is taken, also over HTTP/2."""
    held = []

    def handler(peer):
        while (msg := peer.request()) is not None:
            held.append(msg)
            wait_for(lambda: "go" in held or "stop" in held)
            peer.send(ok())
    auth = Scripted(handler)
    daemon = start([auth.address])
    body = bytes(i * 7 % 251 for i in range(2_000_000))
    client = daemon.connect()
    client.send(request("POST", "/echo", [("Content-Length", str(len(body)))]), body[:10])
    wait_for(lambda: len(held) == 1)
    gone = daemon.connect()
    gone.send(request("GET", "/"))
    wait_for(lambda: len(held) == 2)
    gone.reset()
    wait_for(lambda: count(daemon, "client_gone_auth") == 1)
    client.sock.settimeout(0.2)
    with pytest.raises((TimeoutError, socket.timeout)):
        for _ in range(1000):
            client.sock.sendall(body[:100_000])
    held.append("go")
    client.reset()
    with H2(daemon.port) as peer:
        peer.send(peer.headers(1, post(3, "/echo"), end=False) + peer.data(1, b"abc", end=True))
        assert b'"body_length":3' in bytes(peer.response(1).body).replace(b" ", b"")
    auth.close()


def test_the_log_says_what_the_service_said(start, tmp_path):
    daemon = start(lambda msg: ok(("X-User", "ann"), status="403 no") if msg.target == "/no"
                   else ok(("X-User", "ann")), copy=["X-User"])
    log = tmp_path / "log"
    daemon.conf["log"] = {"access": {"path": str(log), "fields": ["status", "header:X-User"]}}
    daemon.fd_check = False  # the log is one more
    daemon.conf["routes"][0]["response_headers"] = {"set": {"X-Who": "{header:X-User}"}}
    daemon.reload(daemon.conf)
    assert daemon.ask(headers=[("X-User", "root")]).get("X-Who") == "ann"
    daemon.conf["routes"][0]["auth"]["forward"]["path"] = "/no"
    daemon.reload(daemon.conf)
    assert daemon.ask(headers=[("X-User", "root")]).get("X-Who") in ("", None)
    wait_for(lambda: log.exists() and log.read_text().count("\n") == 2)
    assert "ann" in log.read_text().splitlines()[0] and "root" not in log.read_text()


def test_figures_of_clients_do_not_count_questions(start):
    daemon = start(lambda msg: ok())
    for _ in range(3):
        assert daemon.ask().status == 200
    metrics = daemon.admin.metrics()
    assert metrics['weir_exchanges_total{outcome="ok"}'] == 3
    assert sum(r["requests"] for r in daemon.backends("auth").values()) == 3
    assert metrics["weir_requests_total"] == 3
