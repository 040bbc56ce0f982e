# SPDX-License-Identifier: MIT
"""What an intermediary owes both sides: RFC 9110 and 9112, see tests/spec/duties_*.txt."""
import re
from email.utils import parsedate_to_datetime

import pytest
import yaml

from backends import pattern, pattern_sha256
from h2peer import H2Server
from h2wire import GET, H2, post, raw
from wire import Headers, request, wait_for

DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


def answering(*lines, status="200 OK", version="1.1", body="ok"):
    def handler(peer):
        while peer.request():
            peer.send("\r\n".join((f"HTTP/{version} {status}", f"Content-Length: {len(body)}",
                                   *lines)), f"\r\n\r\n{body}")
    return handler


def is_date(text):
    assert DATE.fullmatch(text) and parsedate_to_datetime(text), text
    return True


# ---- Date, RFC 9110 6.6.1 ----

def test_a_response_without_date_gets_one(weir, scripted):
    assert is_date(weir([scripted(answering()).address]).ask().get("Date"))


def test_the_date_of_the_backend_stays(weir, scripted):
    then = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert weir([scripted(answering(f"Date: {then}")).address]).ask().get("Date") == then


def test_own_answers_have_a_date(weir, scripted):
    daemon = weir([scripted().address], routes=[
        {"match": {"path": "/r"}, "redirect": {"to": "/x"}},
        {"match": {"path": "/f"}, "respond": {"status": 204}}, {"match": {"path": "/a"},
                                                                "pool": "app"}])
    for target in ("/r", "/f", "/none", "/a%00"):
        assert is_date(daemon.ask(target=target).get("Date")), target
    with H2(daemon.port) as peer:
        for number, path in ((1, "/none"), (3, "/a%00")):
            fields = [(n, path if n == ":path" else v) for n, v in GET]
            assert is_date(peer.ask(number, fields).get("date")), path


def test_interim_responses_have_none(weir, scripted):
    def handler(peer):
        while peer.request():
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    early = weir([scripted(handler).address]).ask().infos[0]
    assert [n for n, _ in early.headers] == ["Link"]


# ---- Via, 7.6.3 ----

def test_via_names_the_version_that_came(weir, scripted):
    backend = scripted(answering(version="1.0"))
    daemon = weir([backend.address])
    assert daemon.ask(headers=[("Via", "1.0 fred")]).get("Via") == "1.0 weir"
    assert daemon.ask(version="1.0").get("Via") == "1.0 weir"
    with H2(daemon.port) as peer:
        assert peer.ask(1).get("via") == "1.0 weir"
    came = [req.headers.all("Via") for req in backend.requests]
    assert came == [["1.0 fred", "1.1 weir"], ["1.0 weir"], ["2 weir"]]


def test_via_of_a_backend_that_speaks_http2(weir, scripted):
    def handler(peer):
        server = H2Server(peer)
        number, req = server.request()
        assert req.get("via") == "1.1 weir"
        server.head(number, headers=[("via", "1.1 x")], end=True)
        server.until(lambda: False)
    daemon = weir([scripted(handler).address], pool={"protocol": "h2"})
    assert daemon.ask().headers.all("via") == ["1.1 x", "2 weir"]


def test_a_route_may_take_via_away(weir, app):
    edits = {"remove": ["Via"]}
    daemon = weir(app().addresses, routes=[
        {"pool": "app", "request_headers": edits, "response_headers": edits}])
    answer = daemon.ask(target="/echo")
    assert "Via" not in answer.headers and "Via" not in Headers(map(tuple, answer.json()["headers"]))


def test_a_circle_ends(weir):
    """A weir that is its own backend: a Via more each time, until limits.hops."""
    daemon = weir(["127.0.0.1:1"], pool={"keepalive": {"max_idle": 0}})
    conf = yaml.safe_load(daemon.conf_path.read_text())
    conf["pools"]["app"]["backends"] = [f"127.0.0.1:{daemon.port}"]
    daemon.write(conf)
    daemon.reload()
    assert daemon.ask().status == 508
    assert daemon.sum("requests") <= 10


# ---- what is not for an intermediary to change: 10.1.3, 10.2.1, 11.6, 13.2.1, 14.2 ----

def test_fields_that_are_not_weirs_pass_as_they_are(weir, scripted):
    """Allow, challenges and validators are the backend's, conditions and ranges the client's."""
    theirs = ["Allow: GET, BREW", "WWW-Authenticate: Basic realm=a, Digest x=1",
              "WWW-Authenticate: B", "Authentication-Info: nextnonce=x", "Server: teapot/1",
              "Location: http://10.0.0.1/x", "ETag: W/\"a\"", "Content-Encoding: br",
              "Retry-After: 7", "Vary: *", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
              "Content-Range: bytes 0-1/9"]
    ours = [("Authorization", "Basic  xx"), ("Referer", "http://a/b?c#d"), ("User-Agent", "x (y)"),
            ("From", "a@b"), ("If-Match", '"x"'), ("If-None-Match", "*"), ("Range", "bytes=0-1"),
            ("If-Range", '"x"'), ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Accept-Encoding", "br;q=0.1"), ("Trailer", "X-Sum")]
    backend = scripted(answering(*theirs, status="206 Partial Content"))
    answer = weir([backend.address]).ask(headers=ours)
    assert answer.status == 206 and answer.body == b"ok"
    passed = [f"{name}: {value}" for name, value in answer.headers]
    assert [line for line in passed if line in theirs] == theirs
    came = [tuple(pair) for pair in backend.requests[0].headers]
    assert [pair for pair in came if pair in ours] == ours


def test_credentials_for_proxies_end_here(weir, scripted):
    backend = scripted(answering("Proxy-Authenticate: Basic realm=x"))
    answer = weir([backend.address]).ask(headers=[("Proxy-Authorization", "Basic eDp5")])
    assert answer.status == 200 and answer.get("Proxy-Authenticate") is None
    assert backend.requests[0].get("Proxy-Authorization") is None


# ---- Expect, 10.1.1 ----

def test_no_100_where_the_answer_is_known(weir, scripted):
    """From the head alone: the client need not send its body, and nobody hears of it."""
    backend = scripted()
    daemon = weir([backend.address], routes=[
        {"match": {"path": "/no"}, "respond": {"status": 403}},
        {"match": {"path": "/go"}, "redirect": {"to": "/x", "status": 308}},
        {"match": {"path": "/a"}, "limits": {"body_bytes": "1KiB"}, "pool": "app"}])
    expects = ("Expect", "100-continue")
    for target, status in (("/no", 403), ("/go", 308), ("/none", 404), ("/a", 413)):
        client = daemon.connect()
        client.send(request("POST", target, [expects, ("Content-Length", "5000")]))
        answer = client.response()
        assert answer.status == status and answer.infos == [], (target, answer)
        with H2(daemon.port) as peer:
            peer.send(peer.headers(1, [*post(5000, target), ("expect", "100-continue")], end=False))
            stream = peer.response(1)
            assert stream.status == status and len(stream.heads) == 1, target
    assert backend.n_requests == 0


# ---- an end before the request's: RFC 9112 9.6 ----

def test_an_answer_to_an_upload_that_goes_on_is_read_whole(weir, scripted):
    """What comes behind a refusal is read for a while: a reset could take the answer along."""
    daemon = weir([scripted().address], routes=[
        {"match": {"path": "/no"}, "respond": {"status": 403, "body": "go away"}},
        {"match": {"path": "/a"}, "pool": "app"}])
    client = daemon.connect()
    client.send(request("POST", "/no", [("Content-Length", str(1 << 20))]))
    for _ in range(16):
        client.send(bytes(32768))
    answer = client.response()
    assert (answer.status, answer.body, answer.get("Connection")) == (403, b"go away", "close")


def test_a_refusal_that_ends_the_connection_says_so(weir, scripted):
    """400 for what is no HTTP (RFC 9112 2.2), 408 (RFC 9110 15.5.9), 505: with close."""
    backends = [scripted().address]
    patient, hasty = weir(backends), weir(backends, listener={"timeouts": {"header": "300ms"}})
    for daemon, text, status in ((patient, "what?\r\n\r\n", 400),
                                 (hasty, "GET / HTTP/1.1\r\nHost: a\r\n", 408),
                                 (patient, "GET / HTTP/3.1\r\nHost: a\r\n\r\n", 505)):
        client = daemon.connect()
        client.send(text)
        answer = client.response()
        assert (answer.status, answer.get("Connection")) == (status, "close"), text
        client.assert_closed()


# ---- what a stream that is over leaves behind: RFC 9113 5.1, 6.9 ----

def test_what_still_comes_for_a_stream_that_was_reset(weir, scripted):
    """Its fields are in the table, and its bytes do not take the connection's window away."""
    gone, connections = [], []
    body = pattern(200_000)

    def handler(peer):
        connections.append(peer)
        server = H2Server(peer)
        number, req = server.request()
        server.h2.send_headers(number, [(":status", "103"), ("x-before", "1")])
        server.flush()
        server.until(lambda: req.reset is not None)
        gone.append(req.reset)
        encoder = server.h2.encoder
        # python-h2 lets nothing be sent on a closed stream: by hand
        block = encoder.encode([(":status", "200"), ("x-known", "a" * 50)])
        frames = raw(1, 4, number, block)
        for _ in range(3):
            frames += raw(0, 0, number, bytes(16384))
        peer.send(frames)
        number, _ = server.request(number + 2)
        server.answer(number, body, headers=[("x-known", "a" * 50)])
        server.until_end()
    daemon = weir([scripted(handler).address], pool={"protocol": "h2"}, workers=1)
    client = daemon.connect()
    client.send(request())
    assert client.info().status == 103
    client.close()
    wait_for(lambda: gone)
    answer = daemon.ask()
    assert answer.get("x-known") == "a" * 50 and answer.sha256 == pattern_sha256(len(body))
    assert len(connections) == 1 and gone == [8]


# ---- statuses, 15 ----

@pytest.mark.parametrize("status", ["299 Odd", "418 Teapot", "599 "])
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_status_that_is_not_known_passes(weir, scripted, status, version):
    daemon = weir([scripted(answering(status=status)).address])
    if version == "2":
        with H2(daemon.port) as peer:
            assert peer.ask(1).status == int(status[:3])
    else:
        assert daemon.ask().status == int(status[:3])


# ---- Max-Forwards, 7.6.2 ----

def test_max_forwards_is_not_invented(weir, scripted):
    backend = scripted()
    daemon = weir([backend.address])
    for method in ("OPTIONS", "TRACE", "GET"):
        assert daemon.ask(method).status == 200
    assert [req.get("Max-Forwards") for req in backend.requests] == [None] * 3


@pytest.mark.parametrize("method,value,seen", [
    ("OPTIONS", "3", "2"), ("TRACE", "1", "0"), ("TRACE", "070", "69"), ("GET", "3", "3"),
    ("GET", "0", "0"), ("OPTIONS", "x", "x")])
def test_max_forwards_counts(weir, scripted, method, value, seen):
    backend = scripted()
    assert weir([backend.address]).ask(method, headers=[("Max-Forwards", value)]).status == 200
    assert backend.requests[0].get("Max-Forwards") == seen


def test_max_forwards_ends_here(weir, scripted):
    backend = scripted()
    daemon = weir([backend.address])
    options = daemon.ask("OPTIONS", "*", [("Max-Forwards", "0")])
    assert (options.status, options.body) == (200, b"") and "GET" in options.get("Allow")
    trace = daemon.ask("TRACE", headers=[("Max-Forwards", "0"), ("Cookie", "secret")])
    assert (trace.status, trace.body) == (405, b"") and "GET" in trace.get("Allow")
    assert backend.n_requests == 0


def test_405_says_what_is_allowed(weir, scripted):
    daemon = weir([scripted().address])
    assert "GET" in daemon.ask("CONNECT", "a:80").get("Allow")
    with H2(daemon.port) as peer:
        answer = peer.ask(1, [(":method", "CONNECT"), (":authority", "a:80")])
    assert answer.status == 405 and "GET" in answer.get("allow")


# ---- Upgrade, 7.8 and 15.5.22 ----

def test_426_says_what_to_upgrade_to(weir, scripted):
    backend = answering("Connection: upgrade", "Upgrade: websocket", status="426 Upgrade Required")
    daemon = weir([scripted(backend).address])
    answer = daemon.ask()
    assert (answer.status, answer.get("Upgrade")) == (426, "websocket")
    assert "upgrade" in [v.lower() for v in answer.headers.all("Connection")]
    with H2(daemon.port) as peer:
        answer = peer.ask(1)
    assert answer.status == 426 and answer.get("upgrade") is None


# ---- targets, RFC 9112 3.2 and 3.3 ----

@pytest.mark.parametrize("target,host,seen", [
    ("http://Weir.TEST", "weir.test", ("/", "Weir.TEST")),
    ("HTTP://a.example/x?y", "a.example:80", ("/x?y", "a.example")),
    ("https://a.example:443/", "a.example", ("/", "a.example:443")),
    ("http://a.example:/x", "a.example", ("/x", "a.example")),
    ("/x", "a.example:", ("/x", "a.example")),
    ("/x", "[2001:db8::1]:", ("/x", "[2001:db8::1]")),
    ("/x", "a.example.", ("/x", "a.example."))])
def test_valid_targets(weir, scripted, target, host, seen):
    backend = scripted()
    assert weir([backend.address]).ask(target=target, host=host).status == 200
    assert (backend.requests[0].target, backend.requests[0].get("Host")) == seen


@pytest.mark.parametrize("target", ["*", "http://a.example"])
def test_options_of_the_whole_server(weir, scripted, target):
    backend = scripted()
    assert weir([backend.address]).ask("OPTIONS", target, host="a.example").status == 200
    assert (backend.requests[0].target, backend.requests[0].get("Host")) == ("*", "a.example")


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_options_of_the_whole_server_over_http2(weir, scripted, protocol):
    seen = []

    def h2_handler(peer):
        server = H2Server(peer)
        for stream, req in server.requests():
            seen.append(req.get(":path"))
            server.answer(stream)

    def h1_handler(peer):
        while req := peer.request():
            seen.append(req.target)
            peer.respond()
    handler = h2_handler if protocol == "h2" else h1_handler
    daemon = weir([scripted(handler).address], pool={"protocol": protocol})
    assert daemon.ask("OPTIONS", "*").status == 200
    with H2(daemon.port) as peer:
        fields = [(":method", "OPTIONS"), *GET[1:3], (":path", "*")]
        assert peer.ask(1, fields).status == 200
    assert seen == ["*", "*"]


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_http10_without_host_names_where_it_came_to(weir, scripted, protocol):
    seen = []

    def h2_handler(peer):
        server = H2Server(peer)
        number, req = server.request()
        seen.append(req.get(":authority"))
        server.head(number, end=True)
        server.until(lambda: False)

    def h1_handler(peer):
        seen.append(peer.request().get("Host"))
        peer.respond()
    handler = h2_handler if protocol == "h2" else h1_handler
    daemon = weir([scripted(handler).address], pool={"protocol": protocol})
    client = daemon.connect()
    client.send(request(host=None, version="1.0"))
    assert client.response().status == 200
    assert seen == [f"127.0.0.1:{daemon.port}"]
