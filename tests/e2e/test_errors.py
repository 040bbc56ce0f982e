# SPDX-License-Identifier: MIT
"""Bad requests: refused, closed, and nothing of them reaches a backend."""
import json

import pytest

from backends import refused_address
from wire import request

OK = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

# name, bytes, status.  Behind each stands a good request that must not be served.
BAD = [
    ("length and coding", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6"
     b"\r\n\r\nhello", 400),
    ("two equal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
     b"Content-Length: 5\r\n\r\nhello", 400),
    ("length list", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("length plus sign", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
    ("length minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400),
    ("length hex", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    ("length empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
    ("length overflow", b"POST / HTTP/1.1\r\nHost: a\r\n"
     b"Content-Length: 18446744073709551617\r\n\r\n", 400),
    ("unknown coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("coding twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n"
     b"\r\n0\r\n\r\n", 400),
    ("chunked not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip"
     b"\r\n\r\n0\r\n\r\n", (400, 501)),
    ("gzip then chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked"
     b"\r\n\r\n0\r\n\r\n", 501),
    ("coding identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
     (400, 501)),
    ("coding with a tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
     (400, 501)),
    ("coding in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"0\r\n\r\n", 400),
    ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    ("bare LF in a header", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("obs-fold", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    ("first header folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("space before colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("tab before colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400),
    ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    ("bad byte in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n", 400),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("control byte in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x07b\r\n\r\n", 400),
    ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("bad Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("Host with userinfo", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("Host with a bad port", b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
    ("absolute form disagrees", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no version", b"GET /\r\nHost: a\r\n\r\n", 400),
    ("version 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", (400, 505)),
    ("version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("version 3", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ("version garbage", b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", 400),
    ("version lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("version 1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("tab for space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("leading space", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("bad method", b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("target without slash", b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("asterisk with GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("control byte in the target", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("fragment in the target", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n", 400),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    ("unknown expectation", b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n"
     b"Content-Length: 5\r\n\r\nhello", 417),
    ("target too long", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("line too long", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
    ("head too large", b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 9 +
     b"\r\n", 431),
    ("too many headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 101 + b"\r\n", 431),
]


def fits(status, expected):
    return status in expected if isinstance(expected, tuple) else status == expected


def test_bad_heads_are_refused_and_nothing_is_forwarded(one):
    wrong = []
    for name, data, expected in BAD:
        client = one.connect()
        try:
            client.send(data, OK)
            response = client.response()
            if not fits(response.status, expected):
                wrong.append(f"{name}: {response.status} instead of {expected}")
            client.assert_closed()
        except (AssertionError, OSError) as error:
            wrong.append(f"{name}: {error!r}")
        finally:
            client.close()
        stats = one.app.stats()
        if stats["bytes_in"] or stats["connections"]:
            wrong.append(f"{name}: {stats['bytes_in']} bytes reached the backend")
            one.app.reset()
    assert not wrong, "\n".join(wrong)


def test_the_preface_of_http2_where_it_is_off(weir, app):
    daemon = weir(app().addresses, listener={"limits": {"h2_streams": 0}})
    with daemon.connect() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.response().status == 505
        client.assert_closed()


def test_bad_heads_in_two_pieces(one):
    """The same, cut in the middle: what is refused must not depend on packets."""
    wrong = []
    for name, data, expected in BAD:
        client = one.connect()
        try:
            client.send(data[:len(data) // 2])
            client.send(data[len(data) // 2:])
            status = client.response().status
            if not fits(status, expected):
                wrong.append(f"{name}: {status} instead of {expected}")
        except (AssertionError, OSError) as error:
            wrong.append(f"{name}: {error!r}")
        finally:
            client.close()
    assert not wrong, "\n".join(wrong)
    assert one.app.stats()["bytes_in"] == 0


def test_good_answers_before_a_bad_request_still_come(one):
    client = one.connect()
    client.send(request(target="/bytes/5"), b"BAD\r\n\r\n", request())
    assert client.response().size == 5
    assert client.response().status == 400
    client.assert_closed()
    assert one.app.stats()["requests"] == 1


CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("body", [
    b"x\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello",
    b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"fffffffffffffffff\r\nhello",
    b"5\r\nhello\n0\r\n\r\n", b"\r\nhello", b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n", b"0\r\nbad trailer\r\n\r\n", b"0\r\nA: b\n\r\n"])
def test_bad_chunks(one, body):
    """The request may have begun to go out; it must never be completed."""
    client = one.connect()
    client.send(CHUNKED_HEAD, body, OK)
    assert client.response().status == 400
    client.assert_closed()
    stats = one.app.stats()
    assert stats["responses"] == {}, "the backend saw a complete request"


def test_body_limit(weir, app):
    backend = app()
    daemon = weir(backend.addresses, listener={"limits": {"body_bytes": "1KiB"}})
    client = daemon.connect()
    assert client.ask("POST", "/echo", body=b"x" * 1024).status == 200
    client.send(request("POST", "/echo", body=b"x" * 1025))
    assert client.response().status == 413
    client.assert_closed()
    client = daemon.connect()
    client.send(CHUNKED_HEAD, b"%x\r\n%s\r\n0\r\n\r\n" % (1025, b"x" * 1025))
    assert client.response().status == 413
    client.assert_closed()
    assert backend.stats()["responses"] == {"200": 1}


@pytest.mark.parametrize("how, why", [
    ({"headers": [("X-A", "a" * 9000)]}, "line_too_long"),
    ({"headers": [(f"X-{i}", "1") for i in range(101)]}, "too_many_headers"),
    ({"method": "POST", "body": b"x" * 2000}, "body_too_large"),
])
def test_a_limit_of_the_listener_is_named(weir, app, how, why):
    daemon = weir(app().addresses, listener={"refusal_header": "X-Refused",
                                             "limits": {"body_bytes": "1KiB"}})
    assert daemon.ask(**how, keep=False).get("X-Refused") == why
    assert daemon.ask().get("X-Refused") is None
    daemon.conf["listeners"][0].pop("refusal_header")
    daemon.reload(daemon.conf)
    assert daemon.ask(**how, keep=False).get("X-Refused") is None


def test_a_custom_head_limit(weir, app):
    backend = app()
    daemon = weir(backend.addresses,
                  listener={"limits": {"line_bytes": "2KiB", "header_bytes": "2KiB",
                                               "header_count": 5}})
    assert daemon.ask(headers=[("X-A", "a" * 1000)]).status == 200
    assert daemon.ask(headers=[("X-A", "a" * 1000), ("X-B", "b" * 1100)]).status == 431
    assert daemon.ask(headers=[(f"X-{i}", "1") for i in range(5)]).status == 431


def test_smuggled_request_is_not_served(one):
    """What looks like a second request inside a body stays a body."""
    client = one.connect()
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    assert client.ask("POST", "/echo", body=inner).json()["body_length"] == len(inner)
    assert one.app.stats()["requests"] == 1


# ---- the answers themselves ----

@pytest.fixture
def dead(weir):
    """weir in front of nobody"""
    return weir([refused_address()])


def test_error_in_text(dead):
    response = dead.ask(headers=[("X-Request-ID", "id-4711")])
    assert response.status == 502
    assert response.get("Content-Type").startswith("text/plain")
    assert b"id-4711" in response.body
    assert len(response.body) < 500


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/plain;q=0.5",
                                    "text/html;q=0.1, application/json"])
def test_error_in_json(dead, accept):
    response = dead.ask(headers=[("Accept", accept), ("X-Request-ID", "id-4711")])
    assert response.status == 502
    assert response.get("Content-Type").startswith("application/json")
    assert "id-4711" in json.loads(response.body).values()


@pytest.mark.parametrize("accept", ["text/html", "*/*", "text/plain, application/json;q=0.5",
                                    "garbage;;;q=x"])
def test_error_stays_text(dead, accept):
    response = dead.ask(headers=[("Accept", accept)])
    assert response.get("Content-Type").startswith("text/plain")


def test_error_with_a_made_request_id(dead):
    import re
    assert re.search(rb"[0-9a-zA-Z-]{16,}", dead.ask().body)


def test_error_to_head_has_no_body(dead):
    client = dead.connect()
    for _ in range(2):
        assert client.ask("HEAD").status == 502


def test_connection_goes_on_after_a_gateway_error(dead):
    client = dead.connect()
    for _ in range(5):
        assert client.ask().status == 502


def test_connection_goes_on_after_an_error_with_upload(dead):
    client = dead.connect()
    response = client.ask("POST", body=b"x" * 1000)
    assert response.status == 502
    if "close" not in response.get("Connection", ""):
        assert client.ask().status == 502


def test_a_bad_request_id_is_not_echoed(dead):
    response = dead.ask(headers=[("Accept", "application/json"),
                                 ("X-Request-ID", '<script>"\\x"</script>')])
    assert json.loads(response.body)
    assert b"<script>" not in response.body


def test_nonsense_bytes_do_no_harm(one):
    import random
    rng = random.Random(1)
    for _ in range(60):
        client = one.connect()
        try:
            client.send(rng.randbytes(rng.randrange(1, 3000)), b"\r\n\r\n")
            assert client.response().status in (400, 414, 431, 505)
        except OSError:
            pass
        client.close()
    assert one.app.stats()["bytes_in"] == 0
