# SPDX-License-Identifier: MIT
"""status.auth: who may read the status port; probes, the unix socket and the traffic go on."""
import json
import os
import select
import signal
import ssl
import subprocess
import threading

import pytest

from backends import binary, free_port, refused_address
from certs import Authority
from daemon import Admin
from sources import Fake
from test_auth import FAST, SLOW, basic, nobody_answers, write
from test_auth_forward import ok, service
from wire import PATIENCE, Client, request, wait_for

TOKEN = "sesame-open-the-door"


@pytest.fixture
def guarded(weir, app, tmp_path):
    """A function that starts a weir whose status port asks for a password, or the token."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)

    def start(rows=None, **keys):
        port = free_port()
        auth = {"basic": {"file": write(tmp_path / "users", rows or {"ann": FAST})}}
        daemon = weir([{"address": app().addresses[0], "name": "a"}], status={
            "bind": f"127.0.0.1:{port}", "token_file": str(tmp_path / "token"), "auth": auth},
            **keys)
        daemon.status_port = port
        daemon.web = Admin(port)
        return daemon
    return start


def status(daemon, path="/v1/status", headers=(), method="GET"):
    return daemon.web.call(method, path, headers=headers).status


def test_reading_needs_a_name_and_a_password(guarded):
    daemon = guarded()
    for path in ("/", "/v1/status", "/v1/pools", "/v1/config", "/metrics", "/v1/stream", "/no"):
        answer = daemon.web.call("GET", path)
        assert answer.status == 401, path
        assert answer.get("WWW-Authenticate") == 'Basic realm="weir", charset="UTF-8"'
        assert status(daemon, path, [basic("ann", "wrong")]) == 401, path
        assert status(daemon, path, [basic("bob")]) == 401, path
    for path in ("/v1/status", "/v1/pools", "/metrics"):
        assert status(daemon, path, [basic("ann")]) == 200, path
        assert status(daemon, path, [("Authorization", f"Bearer {TOKEN}")]) == 200, path
    for path in ("/livez", "/readyz"):
        assert status(daemon, path) == 200, path
        assert status(daemon, path, [basic("ann", "wrong")]) == 200, path
    assert daemon.admin.get("/v1/status")["pid"] == daemon.pid  # over the unix socket
    with Client(daemon.status_port) as client:
        client.send(request("GET", "/v1/stream", [basic("ann")], host="weir"))
        while b'"pools":' not in client.buf:
            assert client.fill()


def test_a_user_changes_nothing_and_the_token_is_enough(guarded):
    daemon = guarded()
    path = "/v1/pools/app/backends/a"
    for headers in ([], [basic("ann")]):
        assert daemon.web.call("POST", path, {"weight": 9}, headers).status == 401
    assert daemon.backends()["a"]["weight"] == 1
    answer = daemon.web.call("POST", path, {"weight": 9}, [("Authorization", f"Bearer {TOKEN}")])
    assert answer.status == 200 and daemon.backends()["a"]["weight"] == 9


def test_a_changed_file_is_noticed_and_one_that_breaks_is_a_problem(guarded, tmp_path):
    daemon = guarded()
    assert status(daemon, headers=[basic("ann")]) == 200
    write(tmp_path / "users", {"bob": FAST})
    wait_for(lambda: status(daemon, headers=[basic("bob")]) == 200, 20)
    assert status(daemon, headers=[basic("ann")]) == 401
    (tmp_path / "users").write_text("bob:secret\n")
    wait_for(lambda: any("users:1: a password as plain text" in p for p in
                         daemon.admin.get("/v1/status")["problems"]), 20)
    (tmp_path / "users").write_text("# other\nbob\n")
    wait_for(lambda: any("users:2: there is no ':'" in p for p in
                         daemon.admin.get("/v1/status")["problems"]), 20)
    assert sum("users have" in p for p in daemon.admin.get("/v1/status")["problems"]) == 1
    assert status(daemon, headers=[basic("bob")]) == 200


def test_it_comes_and_goes_with_a_reload(guarded):
    daemon = guarded()
    auth = daemon.conf["status"].pop("auth")
    daemon.reload(daemon.conf)
    assert status(daemon) == 200
    daemon.conf["status"]["auth"] = auth
    daemon.reload(daemon.conf)
    assert status(daemon) == 401
    assert status(daemon, headers=[basic("ann")]) == 200


def test_who_guesses_holds_up_neither_probes_nor_the_users_of_routes(guarded, tmp_path):
    """Forty passwords at once, each of which takes long: some wait, the others are told so."""
    file = write(tmp_path / "site", {"ann": FAST})
    daemon = guarded(routes=[{"pool": "app", "auth": {"basic": {"file": file}}}])
    clients = [Client(daemon.status_port) for _ in range(40)]
    try:
        with nobody_answers(daemon):
            for i, client in enumerate(clients):
                client.send(request("GET", "/v1/status", [basic("ann", f"guess{i}")], host="weir"))
            wait_for(lambda: select.select([c.sock for c in clients], [], [], 0)[0], what="a refusal")
            assert status(daemon, "/livez") == 200
            assert daemon.admin.get("/v1/status")["pid"] == daemon.pid
            assert status(daemon, headers=[("Authorization", f"Bearer {TOKEN}")]) == 200
        wait_for(lambda: daemon.ask(headers=[basic("ann")]).status == 200, 60)
        answers = [client.response() for client in clients]
    finally:
        for client in clients:
            client.close()
    busy = [a for a in answers if a.status == 503]
    assert {a.status for a in answers} == {401, 503}
    assert len(answers) - len(busy) >= 4 and all(a.get("Retry-After") == "1" for a in busy)


def test_who_waits_for_a_password_is_no_obstacle(guarded):
    """To who leaves, to a reload, to another process that takes over, to the end."""
    daemon = guarded({"ann": FAST, "bob": SLOW})
    with Client(daemon.status_port) as client:
        with nobody_answers(daemon):
            with Client(daemon.status_port) as leaver:
                leaver.send(request("GET", "/v1/status", [basic("ann", "wrong")], host="weir"))
            client.send(request("GET", "/v1/status", [basic("ann")], host="weir"))
            assert status(daemon, "/livez") == 200  # it has been read by then
            daemon.reload(daemon.conf)
        assert client.response().status == 200
    with Client(daemon.status_port) as client:
        client.send(request("GET", "/v1/status", [basic("bob", "other")], host="weir"))
        assert status(daemon, "/livez") == 200
        assert daemon.stop(timeout=PATIENCE) == 0


def test_the_process_that_takes_over_asks_as_well(guarded):
    daemon = guarded()
    daemon.kill(signal.SIGUSR2)
    daemon.wait()  # whoever asks meanwhile may be sent away
    other = wait_for(lambda: daemon.admin.get("/v1/status")["pid"])
    try:
        assert other != daemon.pid
        assert status(daemon) == 401
        assert status(daemon, headers=[basic("ann")]) == 200
    finally:
        daemon.checked = True
        os.kill(other, signal.SIGTERM)
        wait_for(lambda: not os.path.exists(f"/proc/{other}"))


# ---- weirctl ----

def ctl(*args, check=0):
    done = subprocess.run([binary("weirctl"), *args], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == check, done
    return done


def secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_weirctl_reads_with_a_password_or_the_token(guarded, tmp_path):
    one, two = guarded(), guarded()
    nodes = ("--nodes", f"127.0.0.1:{one.status_port},127.0.0.1:{two.status_port}")
    done = ctl(*nodes, "pools", check=3)
    assert "status.auth asks for a name and a password" in done.stderr
    assert "--password-file" in done.stderr
    password = secret(tmp_path / "password", "ann:secret\n")
    token = str(tmp_path / "token")
    for option in (("--password-file", password), ("--token-file", token)):
        answer = json.loads(ctl(*nodes, *option, "--json", "pools").stdout)
        assert len(answer["fleet"]["answered"]) == 2 and not answer["fleet"]["missing"]
        assert ctl(*nodes, *option, "status").stdout.count("weir ") >= 2
    both = ("--password-file", password, "--token-file", token)
    done = ctl(*nodes, *both, "--all", "drain", "app/a", "--wait")
    assert f"--password-file {password}" in done.stdout, done
    assert {d.backends()["a"]["state"] for d in (one, two)} == {"draining"}
    done = ctl(*nodes, "--all", "--password-file", password, "enable", "app/a", check=1)
    assert "Authorization: Bearer" in done.stdout
    for text, mode, says in (("secret\n", 0o600, "has no NAME:PASSWORD in it"),
                             ("ann:secret\n", 0o644, "")):
        bad = secret(tmp_path / "bad", text, mode)
        done = ctl(*nodes, "--password-file", bad, "pools", check=2 if says else 0)
        assert says in done.stderr
    done = ctl(*nodes, "--password-file", str(tmp_path / "none"), "pools", check=2)
    assert "--password-file" in done.stderr and "none" in done.stderr
    wrong = secret(tmp_path / "wrong", "ann:else\n")
    assert "status.auth" in ctl(*nodes, "--password-file", wrong, "pools", check=3).stderr


# ---- an auth service ----

SEEN = ("/v1/status", "/v1/pools", "/metrics", "/")


@pytest.fixture
def asking(weir, app, tmp_path):
    """A function that starts a weir whose status port asks a service, and the users of a file."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    made = []

    def start(answer, basic_too=False, pool=(), **forward):
        auth = answer if isinstance(answer, str) else service(answer)
        address = auth if isinstance(answer, str) else auth.address
        port = free_port()
        keys = {"forward": {"pool": "auth", "path": "/verify?x=1", "timeout": "20s", **forward}}
        if basic_too:
            keys["basic"] = {"file": write(tmp_path / "users", {"ann": FAST})}
        daemon = weir((), pools={"app": {"backends": app().addresses},
                                 "auth": {"backends": [address], **dict(pool)}},
                      routes=[{"pool": "app"}],
                      status={"bind": f"127.0.0.1:{port}", "auth": keys,
                              "token_file": str(tmp_path / "token")})
        daemon.fd_check = False  # connections to the service are kept
        if auth is not answer:
            made.append(auth)
        daemon.auth, daemon.status_port, daemon.web = auth, port, Admin(port)
        return daemon
    yield start
    for auth in made:
        auth.close()


def test_a_service_says_who_may_read(asking):
    def answer(msg):
        if msg.get("Cookie") == "sid=ann":
            return ok(("Set-Cookie", "n=1"), status="204 Yes")
        return ok(("Location", "https://login.test/?a=b"), ("Set-Cookie", "a=1; Path=/"),
                  ("Set-Cookie", "b=2"), ("X-Internal", "1"), ("Content-Type", "text/html"),
                  status="302 Found", body=b"<a href=x>log in</a>\n")
    daemon = asking(answer)
    for path in SEEN:
        said = daemon.web.call("GET", path, headers=[("Accept-Encoding", "gzip")])
        assert said.status == 302 and said.get("Location") == "https://login.test/?a=b", path
        assert said.body == b"<a href=x>log in</a>\n" and said.get("X-Internal") is None
        assert [v for n, v in said.headers if n == "Set-Cookie"] == ["a=1; Path=/", "b=2"]
        assert said.get("Content-Security-Policy") is None, "that is for our own page"
        said = daemon.web.call("GET", path, headers=[("Cookie", "sid=ann")])
        assert said.status == 200 and said.get("Set-Cookie") is None, path
    assert status(daemon, "/livez") == 200 and status(daemon, "/readyz") == 200
    before = len(daemon.auth.requests)
    assert before == 2 * len(SEEN), "probes ask nobody"
    assert status(daemon, headers=[("Authorization", f"Bearer {TOKEN}")]) == 200
    assert daemon.admin.get("/v1/status")["pid"] == daemon.pid
    assert len(daemon.auth.requests) == before, "nor do the token and the unix socket"


def test_the_service_is_told_what_is_asked(asking):
    daemon = asking(lambda msg: ok())
    body = {"method": "GET", "url": "/x"}
    said = daemon.web.call("POST", "/v1/explain?", body, [
        ("X-Forwarded-Uri", "/free"), ("X-Forwarded-For", "10.9.9.9"), ("X-Other", "1"),
        ("X_Forwarded_Method", "GET"), ("Range", "bytes=0-1")])
    assert said.status in (200, 400)  # a query that nobody knows
    asked, = daemon.auth.requests
    assert (asked.method, asked.target, asked.body) == ("GET", "/verify?x=1", b"")
    told = [(name.lower(), value) for name, value in asked.headers]
    assert dict(told)["x-other"] == "1" and "range" not in dict(told)
    for name, value in (("x-forwarded-method", "POST"), ("x-forwarded-uri", "/v1/explain?"),
                        ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"),
                        ("x-forwarded-host", "weir"), ("host", "weir")):
        assert [v for n, v in told if n.replace("_", "-") == name] == [value], (name, told)
    assert daemon.web.call("POST", "/v1/drain").status == 401, "who may read changes nothing"
    assert daemon.alive()


@pytest.mark.parametrize("answer,code", [
    (lambda msg: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nab", 502),
    (lambda msg: b"nonsense\r\n\r\n", 502),
    (lambda msg: b"HTTP/1.1 304 Not Modified\r\n\r\n", 502),
    (lambda msg: ok(body=b"x" * 70_000), 502),
    (lambda msg: b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 502),
    (lambda msg: ok(("Content-Type", "text/plain; x=" + "y" * 1500), status="403 No"), 502),
    (lambda msg: None, 504),
], ids=["cut", "nonsense", "304", "long", "head", "type", "hangs"])
def test_a_service_that_fails_lets_nobody_in(asking, answer, code):
    daemon = asking(answer, timeout="20s" if code == 502 else "300ms")
    assert status(daemon) == code
    assert status(daemon, "/livez") == 200
    assert daemon.ask().status == 200
    assert status(daemon, headers=[("Authorization", f"Bearer {TOKEN}")]) == 200


def test_nobody_is_there_to_be_asked(asking):
    daemon = asking(refused_address())
    assert status(daemon) == 502
    daemon.admin.post("/v1/pools/auth/backends/" + list(daemon.backends("auth"))[0],
                      {"state": "maintenance"})
    said = daemon.web.call("GET", "/v1/status")
    assert said.status == 503 and said.get("Retry-After") == "1"


def test_a_password_and_a_service_have_to_agree(asking):
    daemon = asking(lambda msg: ok(status="200 OK" if msg.get("X-Key") == "1" else "403 No"),
                    basic_too=True)
    assert status(daemon, headers=[("X-Key", "1")]) == 401
    assert not daemon.auth.requests, "who has no password is not asked about"
    assert status(daemon, headers=[basic("ann")]) == 403
    assert status(daemon, headers=[basic("ann"), ("X-Key", "1")]) == 200
    assert status(daemon, headers=[basic("ann", "wrong"), ("X-Key", "1")]) == 401


def test_a_service_that_hangs_holds_up_nobody_else(asking):
    daemon = asking(lambda msg: None)
    clients = [Client(daemon.status_port) for _ in range(40)]
    try:
        for client in clients:
            client.send(request("GET", "/v1/status", host="weir"))
        assert status(daemon, "/livez") == 200
        wait_for(lambda: len(daemon.auth.requests) == 32, what="those that may ask at a time")
        refused = wait_for(lambda: [c for c in clients if select.select([c.sock], [], [], 0)[0]])
        assert refused[0].response().status == 503
        daemon.reload(daemon.conf)
        assert daemon.admin.get("/v1/status")["pid"] == daemon.pid
        assert daemon.ask().status == 200
        clients.pop(0).close()
        assert daemon.stop() == 0
    finally:
        for client in clients:
            client.close()


def test_who_asks_while_another_process_takes_over_does_not_hang(asking):
    """Whatever a client is in the midst of, it hears something while the old process goes on."""
    may = threading.Event()

    def answer(msg):
        may.wait(60)
        return ok()
    daemon = asking(answer)
    clients = [Client(daemon.status_port)] + [Client(daemon.sock) for _ in range(3)]
    waits, half, kept, stream = clients
    held = daemon.connect()  # the old process does not end before this
    try:
        held.send(request("POST", "/", [("Content-Length", "4")]) + b"ab")
        wait_for(lambda: [b for b in daemon.backends().values() if b["in_flight"] == 1])
        waits.send(request("GET", "/v1/status", host="weir"))
        wait_for(lambda: daemon.auth.requests, what="the question")
        half.send(b"POST /v1/drain HTTP/1.1\r\nHost: weir\r\nContent-Le")
        assert kept.ask(target="/livez", host="weir").status == 200
        stream.send(request("GET", "/v1/stream", host="weir"))
        assert stream.response_head().status == 200
        daemon.kill(signal.SIGUSR2)
        other = wait_for(daemon.successor, what="another process")
        for client in (waits, half):
            said = client.response()
            assert said.status == 503 and said.get("Retry-After") == "1", said
            assert b"another process has taken over" in said.body
        kept.assert_closed()
        while stream.fill():
            pass
        assert daemon.alive(), "it was not the end of the process that ended them"
        held.send(b"cd")
        assert held.response().status == 200
    finally:
        may.set()
        for client in (*clients, held):
            client.close()
    daemon.checked = True
    assert daemon.wait() == 0, daemon.stderr
    os.kill(other, signal.SIGTERM)
    wait_for(lambda: not os.path.exists(f"/proc/{other}"))


class Yes(Fake):
    """An auth service that lets everybody in."""

    def get(self, handler, path, query):
        handler.json({})


def tls_context(pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.pem, pair.key)
    return context


def problems_of(daemon):
    return [p for p in daemon.admin.get("/v1/status")["problems"] if "status.auth.forward" in p]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_service_behind_tls(asking, tmp_path, trusted):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    auth = Yes(tls_context(authority.issue("auth", ["IP:127.0.0.1"])))
    try:
        daemon = asking(auth.url.partition("//")[2],
                        pool={"tls": {"ca": str((authority if trusted else other).pem)}})
        for _ in range(3):
            assert status(daemon) == (200 if trusted else 502)
        assert len(auth.asked) == (3 if trusted else 0)
        assert not trusted or auth.asked[0][2]["Host"] == "weir", "but its certificate is its own"
        assert [("TLS failed" in p) for p in problems_of(daemon)] == ([] if trusted else [True])
    finally:
        auth.stop()


def test_a_ca_that_is_gone_is_said_once(asking, tmp_path):
    ca, auth = Authority(tmp_path), service(lambda msg: ok())
    try:
        daemon = asking(auth.address, pool={"tls": {"ca": str(ca.pem)}})
        ca.pem.unlink()
        assert [status(daemon) for _ in range(20)] == [502] * 20
        said = [line for line in daemon.stderr.splitlines() if "status.auth.forward: " in line]
        assert 1 <= len(said) <= 2, said  # files are looked at each minute
        assert problems_of(daemon)
    finally:
        auth.close()


def test_another_backend_is_asked_where_one_gives_no_answer(asking):
    good = service(lambda msg: ok())
    try:
        daemon = asking(good.address, pool={"backends": [good.address, refused_address()]})
        assert [status(daemon) for _ in range(8)] == [200] * 8
        assert not problems_of(daemon)
        daemon.conf["pools"]["auth"]["retry"] = "off"
        daemon.reload(daemon.conf)
        assert {status(daemon) for _ in range(8)} == {200, 502}
    finally:
        good.close()


def test_a_service_that_does_not_answer_is_a_problem_until_it_does(asking):
    answers = [None]
    daemon = asking(lambda msg: answers[0], timeout="300ms")
    assert not problems_of(daemon)
    assert status(daemon) == 504
    problem, = problems_of(daemon)
    assert "no whole answer within 3" in problem or "within 2" in problem
    daemon.says("the service of status.auth.forward does not answer")
    answers[0] = ok()
    assert wait_for(lambda: status(daemon) == 200)
    assert not problems_of(daemon)
    wait_for(lambda: "the service of status.auth.forward answers again" in daemon.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["service", "file"])
def test_a_stream_ends_when_its_reader_may_no_longer(asking, tmp_path, how):
    answers = [ok()]
    daemon = asking(lambda msg: answers[0], basic_too=True)
    with Client(daemon.status_port) as client, Client(daemon.status_port) as by_token:
        client.send(request("GET", "/v1/stream", [basic("ann")], host="weir"))
        by_token.send(request("GET", "/v1/stream", [("Authorization", f"Bearer {TOKEN}")],
                              host="weir"))
        wait_for(lambda: client.fill() and b"event: tick" in client.buf)
        asked = len(daemon.auth.requests)
        wait_for(lambda: client.fill() and len(daemon.auth.requests) > asked, 30,
                 what="somebody asks about it again")
        client.fill()  # it goes on
        if how == "service":
            answers[0] = ok(status="403 No")
        else:
            write(tmp_path / "users", {"bob": FAST})
        wait_for(lambda: not client.fill(), 60, what="the end")
        assert by_token.fill(), "the token still opens everything"
    assert status(daemon, "/livez") == 200 and daemon.alive()
