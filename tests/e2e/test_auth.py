# SPDX-License-Identifier: MIT
"""routes[].auth.basic: who may use a route; the request waits, and nobody else does."""
import base64
import os
import select
import subprocess
import threading

import pytest
import yaml

from backends import Scripted, binary
from daemon import make_conf
from h2wire import GET, H2, post
from wire import PATIENCE, chunked, request, wait_for

# all of them "secret"; the slow one takes several hundred milliseconds
FAST = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
SLOW = "$2b$12$abcdefghijklmnopqrstuuT1Iwu6o8Wx7BoOyIMHfgVJq6JO/IJhW"
HASHES = {
    "bcrypt": FAST,
    "yescrypt": "$y$j75$saltsaltsaltsalt$DsMjm5uqUiFBUYLB9CLnX8E/M0k0mOVJBUWdpCrUik9",
    "sha256": "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
    "sha512": "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77v"
              "wPZN.Pq.H91p5hVO1",
}


def basic(name, password="secret"):
    text = name + (":" + password if password is not None else "")
    return ("Authorization", "Basic " + base64.b64encode(text.encode()).decode())


def write(path, rows):
    path.write_text("".join(f"{name}:{value}\n" for name, value in rows.items()))
    return str(path)


@pytest.fixture
def users(tmp_path):
    """A function that writes a file of users."""
    return lambda rows=None: write(tmp_path / "users", {"ann": FAST} if rows is None else rows)


def route(file, **keys):
    return {"routes": [{"name": "api", "pool": "app", "auth": {"basic": {"file": file, **keys}}}]}


def is_asking(daemon):
    """Somebody is; right after the send there may be no connection yet."""
    rows = daemon.admin.get("/v1/connections")["connections"]
    return any(row["state"] == "asking" for row in rows)


def nobody_answers(daemon):
    """For a `with`: no password is computed meanwhile, however long it takes (ten seconds at most)."""
    return daemon.frozen("passwords")


def outcomes(daemon, name):
    return daemon.admin.metrics()[f'weir_exchanges_total{{outcome="{name}"}}']


def test_every_kind_of_hash_lets_in_who_knows_the_password_and_nobody_else(weir, app, users):
    daemon = weir(app().addresses, **route(users(HASHES), realm="the shop"))
    with daemon.connect() as client:
        answer = client.ask()
        assert answer.status == 401
        assert answer.get("WWW-Authenticate") == 'Basic realm="the shop", charset="UTF-8"'
        assert b"unauthorized" not in answer.body and b"request id" in answer.body
        for name in HASHES:
            assert client.ask(headers=[basic(name)]).status == 200, name
            assert client.ask(headers=[basic(name)]).status == 200, name
            assert client.ask(headers=[basic(name, "Secret")]).status == 401, name
            assert client.ask(headers=[basic(name, "")]).status == 401, name
        assert client.ask(headers=[basic("nobody")]).status == 401
    assert outcomes(daemon, "unauthorized") == 1 + 2 * len(HASHES) + 1


@pytest.mark.parametrize("value", [
    "Basic", "Basic ", "Basic !!!!", "Basic YW5uOnNlY3JldA", "Basic YW5uOnNlY3JldB==",
    "Bearer YW5uOnNlY3JldA==", "BasicYW5uOnNlY3JldA==", "Basic YW5uOnNlY3JldA== x",
    "Basic " + base64.b64encode(b"ann:secret\0x").decode(),
    "Basic " + base64.b64encode(b"ann\0:secret").decode(),
    "Basic " + base64.b64encode(b"annsecret").decode(),
    "Basic " + base64.b64encode(b"ann:" + b"x" * 300).decode(),
    "Basic " + base64.b64encode(b"a" * 300 + b":secret").decode(),
    "Basic " + "A" * 7000, "Basic ====", "Basic =",
])
def test_what_is_malformed_is_401_and_nobody_computes_anything(weir, app, users, value):
    daemon = weir(app().addresses, **route(users()))
    with daemon.connect() as client:
        assert client.ask(headers=[("Authorization", value)]).status == 401
        assert client.ask(headers=[("authorization", "basic YW5uOnNlY3JldA==")]).status == 200
        assert client.ask(headers=[basic("ann"), basic("ann")]).status == 401


def test_the_backend_sees_no_password_unless_it_is_to(weir, app, users):
    daemon = weir(app().addresses, **route(users()))

    def seen():
        echo = daemon.ask("GET", "/echo", headers=[basic("ann"), ("X-Other", "1")]).json()
        names = {name.lower() for name, _ in echo["headers"]}
        assert "x-other" in names
        return "authorization" in names
    assert not seen() and not seen()
    daemon.conf["routes"][0]["auth"]["basic"]["pass_on"] = True
    daemon.reload(daemon.conf)
    assert seen()


def test_http2_waits_and_is_answered_the_same(weir, app, users):
    daemon = weir(app().addresses, **route(users()))
    name, value = basic("ann")
    with H2(daemon.port) as peer:
        assert peer.ask(1, GET).status == 401
        assert peer.ask(3, [*GET, (name.lower(), value)]).status == 200
        body = os.urandom(200_000)
        peer.send(peer.headers(5, [*post(len(body), "/echo"), (name.lower(), basic("ann", "")[1])],
                               end=False) + peer.data(5, body[:1000]))
        assert peer.response(5).status == 401
    done = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-u", "ann:secret", "--data-binary", "@-",
         f"http://127.0.0.1:{daemon.port}/echo"], input=body, capture_output=True, check=True)
    assert b'"body_length":200000' in done.stdout.replace(b" ", b"")


def test_a_body_waits_unread_until_the_password_is_known(weir, app, users):
    """Of ten megabytes weir takes no more than its receive area, and Expect is not answered."""
    daemon = weir(app().addresses, **route(users()))
    size = 3_000_000
    body = bytes(i * 7 % 251 for i in range(size))
    with daemon.connect() as client:
        with nobody_answers(daemon):
            client.send(request("POST", "/echo", [basic("ann"), ("Content-Length", str(size)),
                                                  ("Expect", "100-continue")]), body[:1000])
            wait_for(lambda: is_asking(daemon))
            sender = threading.Thread(target=client.send, args=(body[1000:],))
            sender.start()
        echo = client.response()
        while echo.status == 100:
            echo = client.response()
        assert echo.json()["body_length"] == size
        sender.join()
    with daemon.connect() as client:
        client.send(request("POST", "/echo", [basic("ann", "wrong"), ("X-A", "b"),
                                              ("Transfer-Encoding", "chunked")]),
                    chunked([b"abc", b"def"], trailers=[("X-T", "1")]))
        assert client.response().status == 401


@pytest.mark.parametrize("trailers", [(), [("X-T", "1")]])
def test_a_small_body_and_its_trailers_come_through(weir, users, trailers):
    backend = Scripted()
    daemon = weir([backend.address], **route(users()))
    for _ in range(2):
        with daemon.connect() as client:
            client.send(request("POST", "/x", [basic("ann"), ("Transfer-Encoding", "chunked")]),
                        chunked([b"abc", b"def"], trailers=trailers))
            assert client.response().status == 200
            client.send(request("GET", "/again", [basic("ann")]))
            assert client.response().status == 200
    assert [r.body for r in backend.requests] == [b"abcdef", b"", b"abcdef", b""]
    backend.close()


def test_others_are_not_held_up_and_the_queue_has_an_end(weir, app, users):
    """Guesses fill the line; who was right a moment ago, and other routes, notice nothing."""
    daemon = weir(app().addresses, workers=1, routes=[
        {"match": {"path": "/open"}, "pool": "app"},
        {"pool": "app", "auth": {"basic": {"file": users({"ann": FAST, "bob": FAST})}}}])
    assert daemon.ask(headers=[basic("ann")]).status == 200
    clients = [daemon.connect() for _ in range(80)]
    with nobody_answers(daemon):
        for i, client in enumerate(clients):
            client.send(request("GET", "/", [basic("bob", f"guess{i}")]))
        wait_for(lambda: outcomes(daemon, "auth_busy") >= 80 - 64 - 1)
        for _ in range(20):
            assert daemon.ask("GET", "/open").status == 200
            assert daemon.ask(headers=[basic("ann")]).status == 200
        answered = select.select([client.sock for client in clients], [], [], 0)[0]
        assert len(answered) < len(clients), "guesses are waited for all the while"
        answers = [client.response() for client in clients if client.sock in answered]
        assert (503, "1") in [(r.status, r.get("Retry-After")) for r in answers]
        for client in clients:
            client.close()
        wait_for(lambda: outcomes(daemon, "client_gone_auth") > 0)
        assert daemon.ask("GET", "/open").status == 200


@pytest.mark.parametrize("password,status", [("secret", 200), ("else", 401)])
def test_a_client_that_asks_often_at_once_asks_one_question(weir, app, users, password, status):
    """More streams than passwords may wait; some are taken back meanwhile."""
    daemon = weir(app().addresses, workers=1, **route(users()))
    name, value = basic("ann", password)
    with H2(daemon.port) as peer:
        numbers = range(1, 180, 2)
        peer.send(b"".join(peer.headers(n, [*GET, (name.lower(), value)]) for n in numbers)
                  + b"".join(peer.reset(n) for n in numbers[::10]))
        assert {peer.response(n).status for n in numbers if n not in numbers[::10]} == {status}
    assert outcomes(daemon, "auth_busy") == 0


def test_who_leaves_while_it_waits_is_forgotten_and_so_is_a_reload(weir, app, users):
    file = users({"ann": FAST, "bob": SLOW})
    daemon = weir(app().addresses, **route(file))
    with daemon.connect() as client:
        with nobody_answers(daemon):
            client.send(request("GET", "/", [basic("ann")]))
            wait_for(lambda: is_asking(daemon))
            daemon.conf["routes"][0]["auth"] = {"basic": {"file": file, "realm": "new"}}
            daemon.reload(daemon.conf)
        assert client.response().status == 200
    with nobody_answers(daemon):
        client = daemon.connect()
        client.send(request("GET", "/", [basic("ann", "else")]))
        wait_for(lambda: is_asking(daemon))
        client.reset()
        wait_for(lambda: outcomes(daemon, "client_gone_auth") == 1)
    with daemon.connect() as client:
        with nobody_answers(daemon):
            client.send(request("GET", "/", [basic("bob", "third")]))
            wait_for(lambda: is_asking(daemon))
        assert daemon.stop(timeout=PATIENCE) == 0


def test_a_changed_file_is_noticed(weir, app, users):
    daemon = weir(app().addresses, **route(users()))
    assert daemon.ask(headers=[basic("ann")]).status == 200
    users({"bob": FAST})
    wait_for(lambda: daemon.ask(headers=[basic("bob")]).status == 200, 15)
    assert daemon.ask(headers=[basic("ann")]).status == 401


def test_a_file_that_breaks_changes_nothing_and_is_a_problem(weir, app, users, tmp_path):
    daemon = weir(app().addresses, **route(users()))
    (tmp_path / "users").write_text("bob:" + FAST + "\nann:$apr1$abc$def\n")
    wait_for(lambda: any("users:2: MD5" in p for p in
                         daemon.admin.get("/v1/status")["problems"]), 20)
    assert daemon.ask(headers=[basic("ann")]).status == 200


@pytest.mark.parametrize("text,says", [
    ("ann:" + FAST + "\nbob:$apr1$x$y\n", "users:2: MD5 ($apr1$, $1$) is not taken"),
    ("ann:secret\n", "users:1: a password as plain text or DES is not taken"),
    ("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", "users:1: {SHA} is not taken"),
    ("# users\n\nann\n", "users:3: there is no ':' between a name and a hash"),
    (":" + FAST + "\n", "users:1: the name is missing"),
    ("ann:" + FAST[:-1] + "\n", "users:1: the hash is malformed, or was cut"),
    (f"ann:{FAST}\nbob:{FAST}\nann:{FAST}\n", "users:3: 'ann' is there twice (first in line 1)"),
    ("ann:" + FAST.replace("$04$", "$14$") + "\n", "bcrypt with a cost above 12 takes too long"),
    ("\n# nobody\n", "users: there is no user in it"),
    ("ann:\x01\n", "users:1: there are control characters in it"),
], ids=range(10))
def test_files_that_cannot_be_used_are_refused_with_their_line(tmp_path, text, says):
    (tmp_path / "users").write_text(text)
    conf = make_conf(tmp_path, ["127.0.0.1:1"], **route("users"))
    (tmp_path / "weir.yaml").write_text(yaml.safe_dump(conf, sort_keys=False))
    done = subprocess.run([binary("weir"), "-t", "-c", str(tmp_path / "weir.yaml")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in done.stderr and "file:" in done.stderr, done.stderr


def test_ten_thousand_users(weir, app, users):
    daemon = weir(app().addresses, **route(users({f"user{i}": FAST for i in range(10_000)})))
    with daemon.connect() as client:
        for i in (0, 1, 5000, 9999):
            assert client.ask(headers=[basic(f"user{i}")]).status == 200
        for name in ("user", "user10000", "user00", "User1"):
            assert client.ask(headers=[basic(name)]).status == 401
