# SPDX-License-Identifier: MIT
"""The access log: three formats, reopened on USR1, sampled."""
import contextlib
import json
import os
import re
import signal
import socket
import time

import pytest

from backends import free_port
from wire import TIMEOUT, full_pipe, request, wait_for

DROPPED = 'weir_log_dropped_total{log="access"}'


@pytest.fixture
def logged(weir, app, tmp_path):
    def start(**access):
        backend = app()
        daemon = weir([{"address": backend.addresses[0], "name": "a"}],
                      log={"access": {"path": str(tmp_path / "access.log"), **access}})
        daemon.app = backend
        daemon.log = tmp_path / "access.log"
        return daemon
    return start


def lines(daemon, n, path=None):
    """The lines of the log once there are n."""
    path = path or daemon.log

    def read():
        text = path.read_text() if path.exists() else ""
        got = text.splitlines()
        return (len(got) >= n and text.endswith("\n")) and got
    return wait_for(read, 5, f"{n} lines in the access log")


def test_json(logged):
    daemon = logged(format="json")
    client = daemon.connect()
    client.ask(target="/bytes/1234?x=%20y", headers=[("X-Request-ID", "id-1"),
                                                     ("User-Agent", 'a "quoted" \\ agent')])
    client.ask("POST", "/?status=404", body=b"hello", headers=[("X-Request-ID", "id-2")])
    first, second = map(json.loads, lines(daemon, 2))
    for row, values in ((first, ("id-1", "GET", 200)), (second, ("id-2", "POST", 404))):
        for value in values:
            assert value in row.values(), (value, row)
    assert any("/bytes/1234" in str(v) for v in first.values())
    assert first["bytes_out"] > 1234 and first["bytes_in"] > 40


def test_combined(logged):
    daemon = logged(format="combined")
    daemon.ask(target="/bytes/1234", headers=[("User-Agent", "agent/1"), ("Referer", "http://r/")])
    line = lines(daemon, 1)[0]
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
        r'"GET /bytes/1234 HTTP/1\.1" 200 1234 "http://r/" "agent/1"', line), line


def test_haproxy(logged):
    daemon = logged(format="haproxy")
    client = daemon.connect()
    client.ask(target="/bytes/1234")
    line = lines(daemon, 1)[0]
    assert f"127.0.0.1:{client.sock.getsockname()[1]}" in line
    assert re.search(r'\d+/\d+/\d+/\d+/\d+ 200 \d+ .*"GET /bytes/1234 HTTP/1\.1"', line), line
    assert "app/a" in line


@pytest.mark.parametrize("format", ["json", "combined", "haproxy"])
def test_one_line_for_every_exchange(logged, format):
    daemon = logged(format=format)
    client = daemon.connect()
    client.send(request() * 50)
    for _ in range(50):
        client.response()
    daemon.ask(target="/?reset=before")
    client = daemon.connect()
    client.send("BAD\r\n\r\n")
    client.response()
    aborted = daemon.connect()
    aborted.send(request(target="/?head_delay=30s"))
    wait_for(lambda: daemon.app.stats()["in_progress"] == 1)
    aborted.close()
    assert len(lines(daemon, 53)) == 53


@pytest.mark.parametrize("format", ["json", "combined", "haproxy"])
def test_hostile_bytes_cannot_forge_lines(logged, format):
    daemon = logged(format=format)
    daemon.ask(target='/"x\\y?<>', headers=[("User-Agent", b'" 200 1 \xff\xfe\\'),
                                            ("Referer", '"\\"')])
    got = lines(daemon, 1)
    assert len(got) == 1
    if format == "json":
        json.loads(got[0])


def test_usr1_reopens(logged):
    daemon = logged(format="combined")
    client = daemon.connect()
    client.ask(target="/before")
    lines(daemon, 1)
    old = daemon.log.rename(daemon.log.with_suffix(".1"))
    client.ask(target="/still-old")
    lines(daemon, 2, old)
    daemon.kill(signal.SIGUSR1)
    wait_for(daemon.log.exists)
    client.ask(target="/after")
    assert "/after" in lines(daemon, 1)[0]
    assert len(old.read_text().splitlines()) == 2


def test_nothing_is_lost_over_many_reopens(logged):
    daemon = logged(format="combined")
    client = daemon.connect()
    n = 0
    for i in range(10):
        daemon.log.rename(daemon.log.with_suffix(f".{i}"))
        daemon.kill(signal.SIGUSR1)
        for _ in range(20):
            client.ask()
            n += 1
        wait_for(daemon.log.exists)
    files = [daemon.log, *(daemon.log.with_suffix(f".{i}") for i in range(10))]
    wait_for(lambda: sum(len(f.read_text().splitlines()) for f in files) == n)


def test_sample(logged):
    daemon = logged(sample=0.2)
    client = daemon.connect()
    for _ in range(10):
        client.send(request() * 100)
        for _ in range(100):
            client.response()
    daemon.finish()  # what was answered is written by then
    got = len(daemon.log.read_text().splitlines())
    assert 140 < got < 260, got


def test_errors_only(logged):
    daemon = logged(errors_only=True)
    client = daemon.connect()
    for target in ("/", "/?status=404", "/?status=500", "/", "/?reset=before", "/?status=302"):
        client.ask(target=target)
    statuses = sorted(int(s) for line in lines(daemon, 2)
                      for s in re.findall(r'"status":\s*(\d+)', line))
    assert statuses == [500, 502]


def test_stdout(weir, app):
    daemon = weir(app().addresses, log={"access": {"path": "stdout", "format": "combined"}})
    daemon.ask(target="/to-stdout")
    wait_for(lambda: "GET /to-stdout HTTP/1.1" in daemon.stdout)


def test_off_by_default(weir, app):
    daemon = weir(app().addresses)
    daemon.ask(target="/nowhere")
    assert "/nowhere" not in daemon.stdout + daemon.stderr


def test_reload_switches_the_log(logged, tmp_path):
    import copy
    daemon = logged(format="combined")
    daemon.ask(target="/one")
    lines(daemon, 1)
    conf = copy.deepcopy(daemon.conf)
    conf["log"]["access"] = {"path": str(tmp_path / "other.log"), "format": "json"}
    daemon.reload(conf)
    daemon.fd_check = False
    wait_for((tmp_path / "other.log").exists)
    daemon.ask(target="/two")
    assert json.loads(lines(daemon, 1, tmp_path / "other.log")[-1])
    assert "/two" not in daemon.log.read_text()


def test_what_was_answered_is_logged_before_the_end(logged):
    daemon = logged(format="combined")
    client = daemon.connect()
    for _ in range(100):
        client.ask()
    daemon.finish()
    assert len(daemon.log.read_text().splitlines()) == 100


def test_a_log_that_blocks_does_not_hold_up_workers(weir, app, tmp_path):
    """A FIFO whose reader sleeps: lines may be dropped, requests may not wait."""
    import os
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    daemon = weir(app().addresses, log={"access": {"path": str(fifo)}})
    client = daemon.connect()
    target = "/" + "x" * 2000
    begin = time.monotonic()
    for _ in range(20):
        client.send(request(target=target) * 50)
        for _ in range(50):
            assert client.response().status == 200
    assert time.monotonic() - begin < TIMEOUT
    end = time.monotonic() + 5

    def drain():
        try:
            while os.read(reader, 1 << 20):
                pass
        except BlockingIOError:
            pass
        return time.monotonic() > end or daemon.is_idle()
    wait_for(drain)
    os.close(reader)


# ---- what cannot be written ----

def dropped(daemon, log):
    return daemon.admin.metrics()[f'weir_log_dropped_total{{log="{log}"}}']


def ask_until(daemon, condition, target="/"):
    """Many requests, all of them answered, until the condition holds."""
    client = daemon.connect()

    def more():
        client.send(request(target=target) * 50)
        assert all(client.response().status == 200 for _ in range(50))
        return condition()
    return wait_for(more, what=str(condition))


@pytest.fixture
def stalled_pipe():
    """The end of a full pipe that nobody reads."""
    reader, writer = full_pipe()
    yield writer
    os.close(reader)
    os.close(writer)


def test_an_unread_fifo_holds_up_neither_start_nor_reload_nor_stop(weir, app, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    daemon = weir(app().addresses, log={"access": {"path": str(fifo)}})
    ask_until(daemon, lambda: dropped(daemon, "access"), "/" + "x" * 2000)
    wait_for(lambda: "lines of the access log were dropped: nobody reads what is written" in
             " ".join(daemon.admin.get("/v1/status")["problems"]))
    assert "access log" in daemon.ctl("check", check=1).stdout
    daemon.reload(daemon.conf)


def test_a_full_disk_costs_lines_not_requests(weir, app):
    daemon = weir(app().addresses, log={"access": {"path": "/dev/full"}})
    ask_until(daemon, lambda: dropped(daemon, "access"))
    problems = daemon.admin.get("/v1/status")["problems"]
    assert any("No space left on device" in p for p in problems), problems


def test_full_stderr_stops_neither_workers_nor_control(weir, app, stalled_pipe):
    """Mistakes in a configuration are worth a line each; none of them finds room."""
    backend = app()
    daemon = weir(pools={"app": {"backends": backend.addresses},
                         "dead": {"backends": [f"127.0.0.1:{free_port()}"]}},
                  routes=[{"match": {"path": "/dead"}, "pool": "dead"},
                          {"match": {"path": "/"}, "pool": "app"}],
                  wrapper=["/bin/sh", "-c",
                           f'exec "$@" 2>/proc/{os.getpid()}/fd/{stalled_pipe}', "sh"])
    mistakes = "".join(f"mistake-{i}: 1\n" for i in range(100))

    def say_much():
        daemon.ask(target="/dead")
        assert daemon.ask().status == 200
        daemon.reload(mistakes, status=422)
        return dropped(daemon, "messages")
    wait_for(say_much)
    daemon.write(daemon.conf)
    daemon.reload()
    said = "lines of the messages log were dropped: nobody reads"
    wait_for(lambda: said in daemon.ctl("status").stdout)


def test_a_failed_reload_makes_no_log_file(logged, tmp_path):
    import copy
    daemon = logged()
    conf = copy.deepcopy(daemon.conf)
    conf["log"]["access"]["path"] = str(tmp_path / "new.log")
    conf["listeners"][0]["bind"] = "192.0.2.1:1"
    daemon.write(conf)
    daemon.admin.post("/v1/reload", status=422)
    assert not (tmp_path / "new.log").exists()
    daemon.ask(target="/still")
    lines(daemon, 1)


def test_a_failed_reopen_is_said(logged, tmp_path):
    daemon = logged()
    daemon.ask(target="/before")
    lines(daemon, 1)
    moved = daemon.log.rename(tmp_path / "moved.log")
    daemon.log.mkdir()
    daemon.kill(signal.SIGUSR1)
    name = "weir_log_reopen_failures_total"
    wait_for(lambda: daemon.admin.metrics()[name] == 1)
    problems = daemon.admin.get("/v1/status")["problems"]
    assert any("cannot be reopened" in p and "directory" in p for p in problems), problems
    daemon.ask(target="/after")
    assert "/after" in lines(daemon, 2, moved)[1]
    daemon.log.rmdir()
    daemon.kill(signal.SIGUSR1)
    wait_for(lambda: not daemon.admin.get("/v1/status")["problems"])
    daemon.ask(target="/new")
    assert "/new" in lines(daemon, 1)[0]


# ---- what clients send is looked at by people ----

HOSTILE = "\x1b\x7f\x80\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"


def harmless(text):
    return not any(c in text for c in HOSTILE)


@pytest.mark.parametrize("format", ["json", "combined", "haproxy"])
def test_nothing_a_client_sends_drives_whoever_reads(weir, app, tmp_path, format):
    log = tmp_path / "access.log"
    daemon = weir(app().addresses, log={"access": {"path": str(log), "format": format}},
                  pool={"balance": "round-robin"})
    client = daemon.connect()
    in_values = "".join(c for c in HOSTILE if c not in "\x1b\x7f").encode()
    in_path = "".join(c for c in HOSTILE if ord(c) > 0x7f).encode()
    for path in (b"/p" + in_path, b"/q"):
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\nUser-Agent: a" + in_values +
                    b"\xff\r\nReferer: r" + in_values + b"\r\nX-Request-ID: i" + in_values +
                    b"\r\n\r\n")
        if client.response().status == 400:
            client = daemon.connect()
    wait_for(lambda: log.exists() and log.read_text().count("\n") == 2)
    assert harmless(log.read_text().replace("\n", ""))
    for path in ("/v1/pools/app/slow", "/v1/connections", "/v1/events", "/v1/status", "/metrics"):
        assert harmless(daemon.admin.call("GET", path).body.decode().replace("\n", "")), path
    for words in (["slow", "app"], ["connections"], ["events"], ["status"]):
        for more in ([], ["--json"]):
            assert harmless(daemon.ctl(*words, *more, check=0).stdout), words
    said = daemon.ctl("explain", "http://h/p\u202e\u2028\x9b", "-H", "X-A: \u2066\x85").stdout
    assert harmless(said), ascii(said)


# ---- fields of one's own, routes without a log, syslog ----

def test_fields(logged):
    daemon = logged(fields=["time", "client", "method", "uri", "status", "header:Referer",
                            "cookie:uid", "backend", "total_s", "term", "request_id"])
    daemon.ask(target="/a?b", headers=[("Referer", "http://r/\"x\""), ("Cookie", "uid=u1"),
                                       ("X-Request-ID", "id-1")])
    first = lines(daemon, 1)[0]  # of two workers the lines come in any order
    daemon.ask(target="/c")
    second = lines(daemon, 2)[1]
    row = json.loads(first)
    assert list(row) == ["time", "client", "method", "uri", "status", "header:Referer",
                         "cookie:uid", "backend", "total_s", "term", "request_id"]
    assert row["header:Referer"] == 'http://r/"x"' and row["cookie:uid"] == "u1"
    assert (row["client"], row["uri"], row["status"]) == ("127.0.0.1", "/a?b", 200)
    assert row["request_id"] == "id-1" and row["term"] == "--" and row["backend"] == "a"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", row["time"])
    assert "header:Referer" not in json.loads(second)


def test_fields_of_a_refused_request(logged):
    daemon = logged(fields=["status", "client", "header:X", "outcome"])
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.response().status == 400
    row = json.loads(lines(daemon, 1)[0])
    assert list(row) == ["client", "status", "outcome"] and row["status"] == 400


def test_a_route_without_log(weir, app, tmp_path):
    log = tmp_path / "access.log"
    daemon = weir(app().addresses, log={"access": {"path": str(log)}},
                  routes=[{"match": {"path": "/health"}, "pool": "app", "log": "off"},
                          {"pool": "app"}])
    daemon.ask(target="/health")
    daemon.ask(target="/else")
    rows = [json.loads(line) for line in lines(daemon, 1, log)]
    assert [row["path"] for row in rows] == ["/else"]


def test_syslog(weir, app, tmp_path):
    path = str(tmp_path / "dev-log")
    def listen():
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        peer.bind(path)
        peer.settimeout(TIMEOUT)
        return peer
    with listen() as peer:
        daemon = weir(app().addresses, log={"access": {"path": "syslog", "socket": path}})
        daemon.ask(target="/one")
        said = peer.recv(65536).decode()
    # RFC 5424: PRI VERSION TIME HOST APP PID MSGID STRUCTURED-DATA MSG
    found = re.fullmatch(r"<134>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ weir (\d+) access - (\{.*\})", said)
    assert found, said
    assert int(found[1]) == daemon.pid
    assert json.loads(found[2])["path"] == "/one"
    # the daemon goes away: requests do not notice, lines are lost and counted
    os.unlink(path)
    assert daemon.ask(target="/two").status == 200
    wait_for(lambda: daemon.admin.metrics()[DROPPED] > 0, 10, "a line is dropped")
    # ... and comes back
    with listen() as peer:
        def heard():
            daemon.ask(target="/three")
            peer.settimeout(1)
            try:
                return "/three" in peer.recv(65536).decode()
            except TimeoutError:
                return False
        wait_for(heard, 20, "lines after syslog came back")


@pytest.mark.parametrize("end", ["it reads", "it vanishes", "weir stops"])
def test_syslog_whose_reader_reads_no_more(weir, app, tmp_path, end):
    """Each line is written, waits, or is counted."""
    path = str(tmp_path / "dev-log")
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"full", path)
    daemon = weir(app().addresses, log={"access": {"path": "syslog", "socket": path}})
    def access():
        return daemon.admin.get("/v1/status")["logs"]["access"]
    daemon.ask(target="/waits")
    wait_for(lambda: access()["error"] == "nobody reads what is written", what="it stalls")
    assert access()["waiting_bytes"] > 100 and access()["dropped"] == 0
    if end == "it reads":
        peer.settimeout(TIMEOUT)
        while b"/waits" not in peer.recv(65536):
            pass
        wait_for(lambda: access()["waiting_bytes"] == 0, what="nothing waits")
        assert access()["dropped"] == 0
    elif end == "weir stops":
        assert daemon.stop() == 0
        assert "the last 1 line of the access log went nowhere" in daemon.stderr
    peer.close()
    if end == "it vanishes":
        wait_for(lambda: access()["waiting_bytes"] == 0, what="nothing waits")
        assert access()["dropped"] == 1


def test_syslog_that_is_not_there_does_not_keep_weir_from_starting(weir, app, tmp_path):
    daemon = weir(app().addresses, log={"access": {"path": "syslog",
                                                   "socket": str(tmp_path / "none")}})
    assert daemon.ask().status == 200
