# SPDX-License-Identifier: MIT
"""Pages of one's own for what weir answers by itself, and maintenance pages."""
import subprocess

import pytest
import yaml

from backends import binary
from daemon import make_conf
from h2wire import GET, H2

NOBODY = "127.0.0.1:9"


@pytest.fixture
def pages(tmp_path):
    (tmp_path / "sorry.html").write_text("<h1>Sorry</h1>\n")
    (tmp_path / "none.html").write_text("<h1>Nothing here</h1>\n")
    (tmp_path / "large.html").write_bytes(bytes(range(32, 127)) * 10000)
    return tmp_path


def start(weir, pages, **route):
    return weir([NOBODY], listener={"errors": {"4xx": {"file": "none.html"}}}, routes=[
        {"name": "app", "match": {"path": "/app"}, "pool": "app",
         "errors": {"5xx": {"file": str(pages / "sorry.html")}}, **route}])


def test_the_page_of_the_route_then_of_the_listener(weir, pages):
    daemon = start(weir, pages)
    answer = daemon.ask(target="/app")
    assert answer.status == 502 and answer.body == b"<h1>Sorry</h1>\n"
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    assert answer.get("X-Request-ID")
    answer = daemon.ask(target="/nowhere")
    assert answer.status == 404 and answer.body == b"<h1>Nothing here</h1>\n"
    head = daemon.ask("HEAD", "/app")
    assert head.get("Content-Length") == "15" and head.body == b""


def test_a_status_goes_before_its_class(weir, pages):
    (pages / "exact.txt").write_text("exact")
    daemon = start(weir, pages, errors={
        "5xx": {"file": "sorry.html"},
        "502": {"file": "exact.txt", "content_type": "text/plain"}})
    answer = daemon.ask(target="/app")
    assert (answer.body, answer.get("Content-Type")) == (b"exact", "text/plain")


def test_who_asks_for_json_gets_json(weir, pages):
    daemon = start(weir, pages)
    answer = daemon.ask(target="/app", headers=[("Accept", "application/json")])
    assert answer.status == 502 and answer.json()["error"] == "connect_refused"


def test_variables_in_pages(weir, pages):
    (pages / "vars.html").write_text(
        "<style>b{color:red} @media{{x}}</style>{status} {reason} {request_id} {route} {path} "
        "{header:X-Who} {nothing} {}")
    daemon = start(weir, pages, errors={"5xx": {"file": "vars.html"}})
    answer = daemon.ask(target="/app/x", headers=[("X-Who", "<script>"), ("X-Request-ID", "r1")])
    assert answer.body.decode() == (
        "<style>b{color:red} @media{{x}}</style>502 connect_refused r1 app /app/x "
        "&#60;script&#62; {nothing} {}")


def test_a_page_whose_values_do_not_fit_is_the_plain_one(weir, pages):
    (pages / "vars.html").write_text("{path}" * 40)
    daemon = start(weir, pages, errors={"5xx": {"file": "vars.html"}})
    assert daemon.ask(target="/app/" + "x" * 6000).body.startswith(b"502 ")


def test_answers_of_backends_stay_as_they_are(weir, pages, scripted):
    def handler(peer):
        while peer.request() is not None:
            peer.respond(b"mine", status=500)
    daemon = weir([scripted(handler).address], routes=[
        {"pool": "app", "errors": {"5xx": {"file": "sorry.html"}}}])
    assert daemon.ask().body == b"mine"


def test_response_headers_apply_to_answers_of_weir(weir, pages):
    daemon = start(weir, pages, response_headers={"set": {"X-Frame-Options": "DENY"}})
    assert daemon.ask(target="/app").get("X-Frame-Options") == "DENY"


@pytest.mark.parametrize("version", ["http1", "h2"])
def test_a_long_maintenance_page(weir, pages, version):
    want = (pages / "large.html").read_bytes()
    daemon = weir(routes=[{"respond": {"status": 503, "file": "large.html",
                                       "content_type": "text/html"}}], backends=[NOBODY])
    if version == "h2":
        with H2(daemon.port) as peer:
            for number in (1, 3):
                peer.send(peer.headers(number, GET, end=True))
                done = subprocess.run(["curl", "-s", "--http2-prior-knowledge",
                                       f"http://127.0.0.1:{daemon.port}/"],
                                      capture_output=True, check=True)
                assert done.stdout == want
        return
    with daemon.connect() as client:
        for _ in range(3):  # on one connection
            answer = client.ask()
            assert answer.status == 503 and answer.body == want
    slow = subprocess.run(["curl", "-s", "--limit-rate", "8M", f"http://127.0.0.1:{daemon.port}/"],
                          capture_output=True, check=True)
    assert slow.stdout == want
    assert daemon.ask("HEAD").get("Content-Length") == str(len(want))


@pytest.mark.parametrize("keys,kind", [
    ({}, "text/html; charset=utf-8"), ({"content_type": "text/plain"}, "text/plain"),
])
def test_a_file_is_html_unless_something_else_is_written(weir, pages, keys, kind):
    (pages / "away.html").write_text("<p>{header:X-A}</p>")
    daemon = weir(routes=[{"respond": {"status": 503, "file": "away.html", **keys}}],
                  backends=[NOBODY])
    answer = daemon.ask(headers=[("X-A", "<b>")])
    assert answer.get("Content-Type") == kind
    assert answer.body == (b"<p><b></p>" if keys else b"<p>&#60;b&#62;</p>")


def test_a_client_that_leaves_a_long_page(weir, pages):
    daemon = weir(routes=[{"respond": {"file": "large.html"}}], backends=[NOBODY])
    for _ in range(5):
        client = daemon.connect(rcvbuf=4096)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.response_head()
        client.reset()
    assert daemon.ask().status == 200


def test_a_reload_reads_the_files_again(weir, pages):
    daemon = start(weir, pages)
    (pages / "sorry.html").write_text("new")
    assert daemon.ask(target="/app").body == b"<h1>Sorry</h1>\n", "no disk on the way of a request"
    daemon.reload()
    assert daemon.ask(target="/app").body == b"new"


@pytest.mark.parametrize("errors,said", [
    ({"5xx": {"file": "nowhere.html"}}, "cannot read"),
    ({"6xx": {"file": "sorry.html"}}, "no status of an error"),
    ({"200": {"file": "sorry.html"}}, "no status of an error"),
    ({"5xx": {}}, "'file' is missing"),
    ({"5xx": {"file": "huge.html"}}, "cannot read"),
])
def test_mistakes_are_told_at_their_place(pages, errors, said):
    (pages / "huge.html").write_bytes(b"x" * (1 << 20) + b"y")
    conf = make_conf(pages, [NOBODY], routes=[{"pool": "app", "errors": errors}])
    (pages / "weir.yaml").write_text(yaml.safe_dump(conf, sort_keys=False))
    done = subprocess.run([binary("weir"), "-t", "-c", pages / "weir.yaml"], capture_output=True,
                          text=True, check=False)
    assert done.returncode != 0 and said in done.stderr, done.stderr


def test_the_dump_loads_again(pages):
    conf = make_conf(pages, [NOBODY], routes=[
        {"pool": "app", "errors": {"5xx": {"file": "sorry.html"}},
         "compress": {"algorithms": ["gzip"]},
         "rate_limit": [{"key": "client-ip+path", "rate": "10/m"}]}])
    (pages / "weir.yaml").write_text(yaml.safe_dump(conf, sort_keys=False))

    def dump(path):
        return subprocess.run([binary("weir"), "-T", "-c", path], capture_output=True, text=True,
                              check=True).stdout
    first = dump(pages / "weir.yaml")
    (pages / "again.yaml").write_text(first)
    assert dump(pages / "again.yaml") == first
    assert "sorry.html" in first and "10/m" in first and "gzip" in first
