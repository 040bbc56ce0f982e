# SPDX-License-Identifier: MIT
"""routes[].auth.forward: a service says who may; it may hang, lie and stream without end."""
import socket
import threading
import time

import pytest

from backends import Scripted, refused_address
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
                    "auth": {"forward": {"pool": "auth", "path": "/verify?x=1", "timeout": "700ms",
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
    daemon = start(answer, timeout="20s")
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
    daemon = start([auth.address])
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


def test_without_a_service_it_is_said_at_once(start):
    daemon = start([refused_address()])
    began = time.monotonic()
    assert daemon.ask().status in (502, 503)
    assert time.monotonic() - began < 0.6
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
    daemon = start([auth.address], timeout="20s")
    body = bytes(i * 7 % 251 for i in range(2_000_000))
    client = daemon.connect()
    client.send(request("POST", "/echo", [("Content-Length", str(len(body)))]), body[:10])
    wait_for(lambda: len(held) == 1)
    gone = daemon.connect()
    gone.send(request("GET", "/"))
    wait_for(lambda: len(held) == 2)
    gone.close()
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
