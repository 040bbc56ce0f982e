# SPDX-License-Identifier: MIT
"""What an intermediary owes both sides: RFC 9110 and 9112, see tests/spec/duties_*.txt."""
import re
from email.utils import parsedate_to_datetime

import pytest

from h2peer import H2Server
from h2wire import GET, H2
from wire import Headers, request

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


# ---- Max-Forwards, 7.6.2 ----

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
