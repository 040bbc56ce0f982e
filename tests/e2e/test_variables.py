# SPDX-License-Identifier: MIT
"""Values with variables: what they stand for in each place, and what hostile values come to."""
import json
import re
import subprocess

import pytest

import certs
from wire import Headers, request, wait_for


@pytest.fixture
def routed(weir, app):
    """routed(routes) -> a daemon in front of an app"""
    def start(routes, **kwargs):
        return weir(app().addresses, routes=routes, **kwargs)
    return start


def heard(answer):
    assert answer.status == 200, answer
    return Headers(map(tuple, answer.json()["headers"]))


def test_request_headers(routed):
    daemon = routed([{"name": "all", "pool": "app", "request_headers": {
        "set": {"X-Real-IP": "{client}", "X-From": "{client}:{client_port} {scheme} {listener}",
                "X-Where": "{host}|{port}|{path}|{query}|{uri}|{method}",
                "X-Names": "{route}/{pool}/{request_id}", "X-Tls": "<{tls.version}>",
                "X-User": "{header:x-user}, {cookie:uid}", "X-Time": "{time}",
                "X-Brace": "{{client}"},
        "add": {"X-Plain": "as it is"}, "remove": ["X-User", "Cookie"]}}])
    got = heard(daemon.ask(target="/echo?a=b", host="Shop.example:81",
                           headers=[("X-User", "me"), ("Cookie", "a=b; uid=u1"),
                                    ("X-Request-ID", "id-1")]))
    assert got.get("X-Real-IP") == "127.0.0.1"
    assert re.fullmatch(r"127\.0\.0\.1:\d+ http \S+", got.get("X-From"))
    assert got.get("X-Where") == "Shop.example|81|/echo|a=b|/echo?a=b|GET"
    assert got.get("X-Names") == "all/app/id-1"
    assert got.get("X-Tls") == "<>"
    assert got.get("X-User") == "me, u1"  # as it was before it was edited away
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", got.get("X-Time"))
    assert got.get("X-Brace") == "{client}"
    assert got.get("X-Plain") == "as it is"
    assert "Cookie" not in got


def test_what_strangers_may_not_say_is_not_seen(routed):
    daemon = routed([{"pool": "app", "request_headers": {"set": {
        "X-Seen": "<{header:X-Forwarded-For}|{header:X-Real-IP}|{client}>"}}}])
    got = heard(daemon.ask(target="/echo", headers=[("X-Forwarded-For", "6.6.6.6"),
                                                    ("X-Real-IP", "6.6.6.6")]))
    assert got.get("X-Seen") == "<127.0.0.1||127.0.0.1>"


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_response_headers(routed, tmp_path, protocol):
    pair = certs.Authority(tmp_path).issue("shop", ["shop.example"]).conf
    daemon = routed([{"name": "r", "match": {"path_regex": "^/(ec|x)(ho)"}, "pool": "app",
                      "response_headers": {"set": {
                          "X-Backend": "{backend} {pool} {status}", "X-Asked": "{method} {uri}",
                          "X-Groups": "{1}-{2}", "X-Said": "{header:X-A}", "X-Host": "{host}",
                          "X-Tls": "{tls.version} {tls.sni}"}}}],
                    listener={"tls": {"certificates": [pair]}})
    port = daemon.port
    out = subprocess.run(
        ["curl", "-sik", "--http2" if protocol == "h2" else "--http1.1", "--resolve",
         f"shop.example:{port}:127.0.0.1", "-H", "X-A: said", f"https://shop.example:{port}/echo?q"],
        capture_output=True, text=True, check=True, timeout=60).stdout.lower()
    assert re.search(r"x-backend: 127\.0\.0\.1:\d+ app 200", out), out
    for line in ("x-asked: get /echo?q", "x-groups: ec-ho", "x-said: said",
                 "x-host: shop.example", "x-tls: tlsv1.3 shop.example"):
        assert line in out, out


def test_redirects_keep_their_structure(routed):
    daemon = routed([
        {"match": {"path_regex": "^/old/([^/]*)/(.*)$"},
         "redirect": {"to": "https://{host}/new/{2}?by={1}&agent={header:X-A}"}},
        {"match": {"path": "/back"}, "redirect": {"to": "{header:X-A}"}},
        {"redirect": {"to": "https://{host}{uri}"}}])
    for target, header, to in [
            ("/old/a/b/c?x", "1&2/3#", "https://shop.example/new/b/c?by=a&agent=1%262%2F3%23"),
            ("/x?y=z", "", "https://shop.example/x?y=z"),
            ("/back", "//evil.example", "%2F%2Fevil.example"),
            ("/back", "https://evil.example", "https%3A%2F%2Fevil.example")]:
        answer = daemon.ask(target=target, host="shop.example:80", headers=[("X-A", header)])
        assert (answer.status, answer.get("Location")) == (308, to), target


def test_bodies_are_escaped_for_their_type(routed):
    value = "\"'<b>&\\"
    daemon = routed([
        {"match": {"path": "/json"}, "respond": {
            "body": "{\"said\": \"{header:X-A}\", \"n\": {\"x\": 1}}",
            "content_type": "application/json"}},
        {"match": {"path": "/html"}, "respond": {"body": "<p title=\"{header:X-A}\">{{x}",
                                                 "content_type": "text/html"}},
        {"respond": {"body": "{header:X-A}"}}])
    ask = lambda path: daemon.ask(target=path, headers=[("X-A", value)]).body.decode()
    assert json.loads(ask("/json")) == {"said": value, "n": {"x": 1}}
    assert ask("/html") == "<p title=\"&#34;&#39;&#60;b&#62;&#38;\\\">{x}"
    assert ask("/text") == value


def test_rewrites(routed):
    daemon = routed([{"match": {"path_regex": "^/t/([a-z]+)/"}, "pool": "app",
                      "rewrite": {"path_regex": "^/t/[a-z]+/(.*)", "path": "/$1?tenant={1}&a={header:X-A}",
                                  "host": "{1}.internal:81"}},
                     {"match": {"path": "/bad/"}, "pool": "app",
                      "rewrite": {"path": "/echo", "host": "{header:X-A}"}}])
    answer = daemon.ask(target="/t/acme/echo?q=1", headers=[("X-A", "x y&z")])
    assert answer.json()["target"] == "/echo?tenant=acme&a=x%20y%26z&q=1"
    assert heard(answer).get("Host") == "acme.internal:81"
    # what is no host changes nothing
    answer = daemon.ask(target="/bad/", host="shop.example", headers=[("X-A", "a/b")])
    assert heard(answer).get("Host") == "shop.example"


def test_a_field_too_large_for_the_head(routed):
    daemon = routed([{"match": {"path": "/many"}, "pool": "app", "request_headers": {"set": {
        f"X-{i}": "{header:X-A}" for i in range(40)}}},
        {"match": {"path": "/kept"}, "pool": "app", "response_headers": {"set": {
            "X-1": "{header:X-A}{header:X-B}{header:X-C}{uri}{query}"}}}, {"pool": "app"}],
        listener={"limits": {"header_bytes": "48KiB", "line_bytes": "48KiB"}})
    big = "a" * 12000  # three of them and a target are within the limit
    limits = [("X-A", big), ("X-B", big), ("X-C", big)]
    assert daemon.ask(target="/many", headers=limits[:1]).status == 431
    assert daemon.ask(target="/kept?" + big[:10000], headers=limits).status == 431
    assert daemon.ask(target="/echo?" + big[:10000], headers=limits).status == 200


LONG = "{header:X-A}{header:X-B}{header:X-C}"


@pytest.mark.parametrize("route", [
    {"respond": {"body": LONG * 2}},
    {"redirect": {"to": "/x?" + LONG * 2}},
    {"redirect": {"to": "/x?" + LONG}, "response_headers": {"set": {"X-1": LONG}}},
], ids=["body", "redirect", "head"])
def test_an_answer_of_weir_that_is_too_large(routed, route):
    daemon = routed([{"match": {"path": "/own"}, **route}, {"pool": "app"}],
                    listener={"limits": {"header_bytes": "48KiB", "line_bytes": "48KiB"}})
    big = [(f"X-{c}", "a" * 12000) for c in "ABC"]
    response = daemon.ask(target="/own", headers=big)
    assert response.status == 500 and b"answer of weir itself is too large" in response.body
    wait_for(lambda: daemon.admin.metrics()['weir_exchanges_total{outcome="answer_too_large"}'] == 1)
    assert daemon.ask(target="/echo").status == 200


def test_a_long_page_that_is_too_large_leaves_nothing_behind(routed, tmp_path):
    """To a client that does not read yet: the page's own bytes must not follow the answer in its place."""
    page, sorry = tmp_path / "page.html", tmp_path / "sorry.html"
    page.write_bytes(b"Q" * 1000000)
    sorry.write_bytes(b"s" * 60000)
    daemon = routed([{"match": {"path": "/own"}, "respond": {"file": str(page)},
                      "response_headers": {"set": {"X-1": LONG, "X-2": LONG[:24], "X-3": "x" * 6000}},
                      "errors": {"500": {"file": str(sorry)}}}, {"pool": "app"}],
                    listener={"limits": {"header_bytes": "48KiB", "line_bytes": "48KiB"}})
    big = [(f"X-{c}", "a" * 12000) for c in "ABC"]
    with daemon.connect(rcvbuf=4096) as client:
        client.send(*(request(target="/own") for _ in range(8)), request(target="/own", headers=big),
                    request(target="/echo"))
        for _ in range(8):
            assert client.response().body == page.read_bytes()
        told = client.response()
        assert (told.status, told.body) == (500, sorry.read_bytes())
        assert client.response().json()["target"] == "/echo"


def test_explain_says_where_a_redirect_leads(routed):
    daemon = routed([{"name": "away", "match": {"path_regex": "^/old/(.*)"},
                      "redirect": {"to": "https://{host}/new/{1}"}}])
    answer = daemon.admin.post("/v1/explain", {"url": "http://shop.example/old/x"})
    assert (answer["route"], answer["redirect"]) == ("away", "https://shop.example/new/x")
