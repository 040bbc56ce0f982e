# SPDX-License-Identifier: MIT
"""Who may say what: fields that belong to weir or to the route cannot be forged."""
import json

import pytest

from h2peer import H2Server
from h2wire import GET, H2, post
from wire import Headers, Truncated, chunked, request

NAMES = ["X-Client-Cert-Subject", "X-Client-Cert-Fingerprint", "X-Client-Cert-Issuer",
         "X-Forwarded-For", "X-Forwarded-Prefix", "X-Forwarded", "Forwarded", "X-Real-IP",
         "X-Request-ID", "traceparent", "Host", "Content-Length", "Transfer-Encoding",
         "Connection", "Cookie", "Authorization", "X-Route-Sets", "X-Route-Removes", "X-Deadline",
         "X_Forwarded_For"]
KEPT = ("X-Sum", "7")
ROUTE = {"request_headers": {"set": {"X-Route-Sets": "weir"}, "remove": ["X-Route-Removes"]},
         "response_headers": {"set": {"X-Route-Sets": "weir"}, "remove": ["X-Route-Removes"]}}
# what HTTP/2 does not even let in
NOT_H2 = ("Connection", "Transfer-Encoding", "Content-Length", "X_Forwarded_For")
TRAILERS = [(name, "evil") for name in NAMES] + [KEPT]


def h2_backend(seen, trailers=()):
    def handler(peer):
        server = H2Server(peer)
        number, req = server.request()
        seen.append(Headers(req.trailers or ()))
        server.head(number)
        server.h2.send_headers(number, [(n.lower(), v) for n, v in trailers], end_stream=True)
        server.flush()
        server.until(lambda: False)
    return handler


def whole(peer, cut):
    """The next request; one that is cut off where that may be is none."""
    try:
        return peer.request()
    except Truncated:
        if cut:
            return None
        raise


def h1_backend(seen, trailers=(), head=(), cut=False):
    def handler(peer):
        while (req := whole(peer, cut)) is not None:
            seen.append(req.trailers)
            lines = "".join(f"{n}: {v}\r\n" for n, v in head)
            peer.send(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{lines}\r\n",
                      chunked([b"ok"], trailers))
    return handler


@pytest.mark.parametrize("backend", ["http1", "h2"])
@pytest.mark.parametrize("client", ["http1", "h2"])
def test_trailers_cannot_say_what_heads_cannot(weir, scripted, client, backend):
    seen = []
    back = [(n, v) for n, v in TRAILERS if backend == "http1" or n not in NOT_H2]
    handler = (h2_backend if backend == "h2" else h1_backend)(seen, back)
    daemon = weir([scripted(handler).address], workers=1,
                  pool={"protocol": backend, "timeouts": {"deadline_header": "X-Deadline"}},
                  routes=[{"pool": "app", **ROUTE}])
    if client == "h2":
        with H2(daemon.port) as peer:
            fields = [(n.lower(), v) for n, v in TRAILERS if n not in NOT_H2]
            peer.send(peer.headers(1, post(), end=False) + peer.data(1, b"body") +
                      peer.headers(1, fields, end=True))
            stream = peer.response(1)
        status, came = stream.status, stream.trailers
    else:
        peer = daemon.connect()
        peer.send(request("POST", headers=[("Transfer-Encoding", "chunked")]),
                  chunked([b"body"], TRAILERS))
        response = peer.response()
        status, came = response.status, response.trailers
    assert status == 200
    assert [(n.lower(), v) for n, v in seen[0]] == [("x-sum", "7")]
    dropped = {n.lower() for n in NAMES if n not in ("X-Deadline", "X_Forwarded_For")}
    assert not dropped & {n.lower() for n, _ in came} and ("x-sum", "7") in [
        (n.lower(), v) for n, v in came]


def test_connection_takes_trailers_along(weir, scripted):
    """RFC 9110 7.6.1: a field that Connection names goes, be it in the head or a trailer."""
    seen = []
    daemon = weir([scripted(h1_backend(seen, [("X-Hop", "1")],
                                       [("Connection", "X-Hop")])).address])
    client = daemon.connect()
    client.send(request("POST", headers=[("Transfer-Encoding", "chunked"),
                                         ("Connection", "X-Hop")]),
                chunked([b"body"], [("X-Hop", "1")]))
    assert not client.response().trailers and not seen[0]


def test_trailers_of_a_request_that_was_answered_already(weir):
    daemon = weir(["127.0.0.1:1"], routes=[{"respond": {"status": 404}}])
    client = daemon.connect()
    client.send(request("POST", headers=[("Transfer-Encoding", "chunked")]))
    assert client.response().status == 404
    client.send(chunked([b"body"], TRAILERS))
    client.assert_closed()


# ---- what routes, keys and logs see is what the backend sees ----

TRUSTED = {"trusted_proxies": ["127.0.0.0/8"]}


def teapot(**match):
    return {"match": match, "respond": {"status": 418}}


def status_of(daemon, *headers):
    return daemon.ask(headers=headers).status


def test_routes_do_not_believe_strangers(weir, app):
    daemon = weir(app().addresses, routes=[
        teapot(header={"X-Client-Cert-Subject": "*"}), teapot(header={"X-Forwarded-Proto": "https"}),
        teapot(header={"X-Forwarded-User": "*"}), teapot(header={"X-Hop": "*"}),
        {"match": {"header": {"X-Forwarded-Proto": "http", "X-Forwarded-For": "127.0.0.1"}},
         "pool": "app"}])
    assert status_of(daemon) == 200
    for name, value in (("X-Client-Cert-Subject", "CN=root"), ("X-Forwarded-Proto", "https"),
                        ("X-Forwarded-User", "root"), ("X-Forwarded-For", "6.6.6.6")):
        assert status_of(daemon, (name, value)) == 200, name
    assert status_of(daemon, ("Connection", "X-Hop"), ("X-Hop", "1")) == 200


def test_routes_see_what_weir_and_trusted_proxies_say(weir, app):
    daemon = weir(app().addresses, listener=TRUSTED, routes=[
        {"match": {"client": ["192.0.2.0/24", "2001:db8::/32"]}, "respond": {"status": 403}},
        teapot(header={"X-Forwarded-Proto": "https"}),
        {"match": {"client": ["127.0.0.0/8"]}, "pool": "app"}])
    assert status_of(daemon) == 200
    for value in ("192.0.2.7:4711", "[2001:db8::7]:80", "6.6.6.6, 192.0.2.7, ,"):
        assert status_of(daemon, ("X-Forwarded-For", value)) == 403, value
    assert status_of(daemon, ("Forwarded", "for=\"192.0.2.7:80\";proto=https")) == 403
    assert status_of(daemon, ("X-Forwarded-For", "unknown")) == 404
    assert status_of(daemon, ("X-Forwarded-Proto", "https")) == 418
    assert status_of(daemon, ("Forwarded", "for=127.0.0.9;proto=https")) == 418


def test_hash_keys_are_what_the_backend_sees(weir, scripted):
    peers = [scripted() for _ in range(4)]
    daemon = weir([peer.address for peer in peers],
                  pool={"balance": "maglev", "hash": {"on": "header:X-Forwarded-For"}})
    for i in range(16):
        daemon.ask(headers=[("X-Forwarded-For", f"6.6.6.{i}")])
    assert sorted(len(peer.requests) for peer in peers) == [0, 0, 0, 16]


def test_the_log_names_the_client(weir, app, tmp_path):
    path = tmp_path / "access.log"
    daemon = weir(app().addresses, listener=TRUSTED, log={"access": {"path": str(path)}})
    for value in ("192.0.2.7:80", "unknown"):
        daemon.ask(headers=[("X-Forwarded-For", value), ("Connection", "User-Agent"),
                            ("User-Agent", "dropped")])
    daemon.finish()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["client"] for line in lines) == ["192.0.2.7", "unknown"]
    assert not any("user_agent" in line for line in lines)


def test_a_route_has_the_last_word(weir, app):
    """What a route sets or removes is so once, weir's own fields included."""
    daemon = weir(app().addresses, routes=[{"pool": "app", "request_headers": {
        "set": {"X-Forwarded-Proto": "https"}, "remove": ["X-Forwarded-Host"]}}])
    headers = Headers(map(tuple, daemon.ask(target="/echo").json()["headers"]))
    assert headers.get("X-Forwarded-Proto") == "https" and "X-Forwarded-Host" not in headers


# ---- what a listener lets in ----

UNDER = [("x_own", "1"), ("x_route_sets", "evil"), ("x_forwarded_for", "6.6.6.6"), ("x-good", "2")]


@pytest.mark.parametrize("how,status,names", [
    (None, 200, ["x-good"]), ("drop", 200, ["x-good"]), ("pass", 200, ["x-good", "x_own"]),
    ("refuse", 400, None)])
def test_underscores(weir, scripted, how, status, names):
    seen = []
    daemon = weir([scripted(h1_backend(seen, cut=how == "refuse")).address], workers=1,
                  listener={"underscores": how} if how else {}, routes=[{"pool": "app", **ROUTE}])

    def came(headers):
        return sorted(n.lower() for n, _ in headers if n.lower() in dict(UNDER))
    client = daemon.connect()
    client.send(request("POST", headers=[("Transfer-Encoding", "chunked")]), chunked([b"x"], UNDER))
    assert client.response().status == status
    with H2(daemon.port) as peer:
        peer.send(peer.headers(1, post(), end=False) + peer.headers(1, UNDER, end=True))
        assert peer.response(1).status == status
        assert peer.ask(3, [*GET, *UNDER]).status == status
    assert daemon.ask(headers=UNDER).status == status
    assert all(came(trailers) == names for trailers in seen[:2] if names)
    counted = daemon.admin.metrics()
    if how == "refuse":
        assert counted['weir_rejected_requests_total{reason="underscore"}'] == 4
    else:
        assert counted["weir_underscore_headers_dropped_total"] == (4 if how == "pass" else 12)


@pytest.mark.parametrize("target", ["/a%00", "/%2fadmin", "/x%5c..%5Cadmin"])
def test_paths_that_backends_read_differently(weir, scripted, target):
    backend = scripted()
    daemon = weir([backend.address], listener={"encoded_slash": "refuse"})
    assert daemon.ask(target=target).status == 400
    with H2(daemon.port) as peer:
        assert peer.ask(1, [(n, target if n == ":path" else v) for n, v in GET]).status == 400
    assert backend.n_requests == 0


def test_encoded_slashes_go_on_as_they_came(weir, scripted):
    backend = scripted()
    assert weir([backend.address]).ask(target="/group%2fname%5C?%00").status == 200
    assert backend.requests[0].target == "/group%2fname%5C?%00"


# ---- what weir understood is what goes on ----

@pytest.mark.parametrize("line", ["Content-Length:\t5", "Content-Length: 5\t ", "Content-Length:5",
                                  "Content-Length:  \t 0005", "content-length: 05"])
def test_lengths_are_written_anew(weir, scripted, line):
    name = line.partition(":")[0].encode()
    seen = []

    def handler(peer):
        while (req := peer.request()) is not None:
            seen.append(req.raw_head)
            peer.send(f"HTTP/1.1 200 OK\r\n{line}\r\n\r\nhello")
    daemon = weir([scripted(handler).address])
    client = daemon.connect()
    client.send(f"POST / HTTP/1.1\r\nHost: a\r\n{line}\r\nX-Tab:\tx\r\n\r\nhello")
    head = client.response()
    assert head.body == b"hello" and b"\r\n" + name + b": 5\r\n" in head.raw_head
    assert b"\r\n" + name + b": 5\r\n" in seen[0] and b"\r\nX-Tab: x\r\n" in seen[0]


def test_lengths_of_http2_are_written_anew(weir, scripted):
    backend = scripted()
    with H2(weir([backend.address]).port) as peer:
        assert peer.ask(1, [*post(), ("content-length", "005")], b"hello").status == 200
    assert backend.requests[0].get("Content-Length") == "5"
