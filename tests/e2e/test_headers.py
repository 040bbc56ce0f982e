# SPDX-License-Identifier: MIT
"""What weir adds to, keeps in, and takes out of heads."""
import re

import pytest

from wire import Headers


@pytest.fixture
def echo(weir, app):
    """echo(headers, ...) -> the header fields the backend received"""
    backend = app()
    daemons = {}

    def ask(headers=(), listener=None, **kwargs):
        key = repr(listener)
        if key not in daemons:
            daemons[key] = weir(backend.addresses, listener=listener)
        answer = daemons[key].ask(target="/echo", headers=headers, **kwargs)
        assert answer.status == 200, answer
        return Headers(map(tuple, answer.json()["headers"]))
    return ask


TRUSTED = {"trusted_proxies": ["127.0.0.0/8"]}


def test_host_is_preserved(echo):
    assert echo(host="Example.COM:8080").get("Host") == "Example.COM:8080"


def test_forwarded_headers_are_set(echo):
    headers = echo(host="shop.example:81")
    assert headers.get("X-Forwarded-For") == "127.0.0.1"
    assert headers.get("X-Forwarded-Proto") == "http"
    assert headers.get("X-Forwarded-Host") == "shop.example:81"


def test_forwarded_headers_of_strangers_are_dropped(echo):
    headers = echo([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"),
                    ("X-Forwarded-Host", "evil"), ("Forwarded", "for=6.6.6.6"),
                    ("x-forwarded-for", "7.7.7.7")])
    assert headers.get("X-Forwarded-For") == "127.0.0.1"
    assert headers.get("X-Forwarded-Proto") == "http"
    assert headers.get("X-Forwarded-Host") == "weir.test"
    assert "Forwarded" not in headers


def test_forwarded_headers_of_trusted_proxies_are_believed(echo):
    headers = echo([("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"),
                    ("X-Forwarded-Host", "shop.example")], TRUSTED)
    chain = ", ".join(headers.all("X-Forwarded-For"))
    assert [part.strip() for part in chain.split(",")] == ["198.51.100.7", "127.0.0.1"]
    assert headers.get("X-Forwarded-Proto") == "https"
    assert headers.get("X-Forwarded-Host") == "shop.example"


def test_trusted_proxies_without_forwarded_headers(echo):
    headers = echo((), TRUSTED)
    assert headers.get("X-Forwarded-For") == "127.0.0.1"
    assert headers.get("X-Forwarded-Proto") == "http"
    assert headers.get("X-Forwarded-Host") == "weir.test"


def test_trust_is_for_the_named_networks_only(echo):
    headers = echo([("X-Forwarded-For", "6.6.6.6")], {"trusted_proxies": ["10.0.0.0/8"]})
    assert headers.get("X-Forwarded-For") == "127.0.0.1"


def test_request_id_is_made(echo):
    first, second = echo().get("X-Request-ID"), echo().get("X-Request-ID")
    assert re.fullmatch(r"[0-9A-Za-z-]{16,64}", first)
    assert first != second


def test_request_id_is_kept(echo):
    assert echo([("X-Request-ID", "abc-123")]).all("X-Request-ID") == ["abc-123"]


@pytest.mark.parametrize("name,value", [
    ("Connection", "keep-alive"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"),
    ("TE", "gzip"), ("Upgrade", "h2c"), ("Proxy-Authorization", "Basic eA=="),
    ("HTTP2-Settings", "AAMAAABk"), ("Proxy", "http://evil/")])
def test_hop_by_hop_headers_are_removed(echo, name, value):
    assert value not in echo([(name, value)]).all(name)


def test_headers_named_by_connection_are_removed(echo):
    headers = echo([("Connection", "close, X-Secret , x-other"), ("X-Secret", "1"),
                    ("X-Other", "2"), ("X-Stays", "3")])
    assert "X-Secret" not in headers and "X-Other" not in headers
    assert headers.get("X-Stays") == "3"


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "X-Request-ID", "Content-Length"])
def test_connection_cannot_take_away_what_matters(echo, name):
    headers = echo([("Connection", name)], method="POST", body=b"hello")
    assert name in headers


def test_names_with_underscores_are_dropped_and_counted(weir, app):
    daemon = weir(app().addresses)
    answer = daemon.ask(target="/echo", headers=[("X_Evil", "1"), ("X-Good", "2"),
                                                 ("Content_Length", "5")])
    headers = Headers(map(tuple, answer.json()["headers"]))
    assert "X_Evil" not in headers and "Content_Length" not in headers
    assert headers.get("X-Good") == "2"
    counted = [v for k, v in daemon.admin.metrics().items() if "underscore" in k]
    assert sum(counted) == 2, "dropped names are counted in /metrics"


def test_ordinary_headers_pass_in_order(echo):
    sent = [("Accept", "*/*"), ("X-B", "1"), ("Cookie", "a=b; c=d"), ("X-B", "2"), ("X-A", "")]
    headers = echo(sent)
    names = {name.lower() for name, _ in sent}
    assert [(n, v) for n, v in headers if n.lower() in names] == sent


def test_latin1_values_pass(weir, scripted):
    def handler(peer):
        while msg := peer.request():
            peer.respond(headers=[("X-Back", msg.get("X-In").encode("latin-1"))])
    response = weir([scripted(handler).address]).ask(headers=[("X-In", b"caf\xe9")])
    assert response.get("X-Back") == "caf\xe9"


def test_body_framing_is_kept(echo):
    assert echo(method="POST", body=b"hello").get("Content-Length") == "5"
    headers = echo(method="GET")
    assert "Content-Length" not in headers and "Transfer-Encoding" not in headers


# ---- responses ----

@pytest.fixture
def answer(weir, scripted):
    """answer(head lines) -> the response a client gets"""
    def ask(*lines, **kwargs):
        def handler(peer):
            while peer.request():
                peer.send("\r\n".join(("HTTP/1.1 200 OK", "Content-Length: 2", *lines)),
                          "\r\n\r\nok")
        return weir([scripted(handler).address]).ask(**kwargs)
    return ask


def test_response_hop_by_hop_headers_are_removed(answer):
    response = answer("Connection: keep-alive, X-Hop", "Keep-Alive: timeout=5", "X-Hop: 1",
                      "Proxy-Authenticate: Basic", "X-Stays: 1", "Proxy-Connection: close")
    for name in ("Keep-Alive", "X-Hop", "Proxy-Connection"):
        assert name not in response.headers
    assert response.get("X-Stays") == "1"
    assert response.body == b"ok"


def test_response_headers_pass_in_order(answer):
    response = answer("Set-Cookie: a=1", "Server: app", "Set-Cookie: b=2; Path=/", "Date: x")
    assert response.headers.all("Set-Cookie") == ["a=1", "b=2; Path=/"]
    assert response.get("Server") == "app"
    assert response.get("Date") == "x"


def test_the_reason_phrase_passes(weir, scripted):
    def handler(peer):
        while peer.request():
            peer.send("HTTP/1.1 299 Quite Fine\r\nContent-Length: 0\r\n\r\n")
    response = weir([scripted(handler).address]).ask()
    assert (response.status, response.reason) == (299, "Quite Fine")


def test_connection_close_of_the_backend_stays_there(weir, app):
    backend = app()
    client = weir(backend.addresses).connect()
    for _ in range(3):
        assert client.ask(target="/?keepalive=0").get("Connection", "") != "close"
