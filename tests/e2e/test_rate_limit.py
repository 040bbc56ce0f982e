# SPDX-License-Identifier: MIT
"""routes[].rate_limit and limits.connections_per_client: who sends too much is told so."""
import subprocess

import pytest
import yaml

from backends import binary
from daemon import make_conf
from h2wire import GET, H2
from wire import wait_for

ONE = {"rate": "1/h", "burst": 3}


def route(*limits, **keys):
    return {"routes": [{"name": "api", "pool": "app", "rate_limit": list(limits), **keys}]}


def statuses(daemon, n, **kwargs):
    with daemon.connect() as client:
        return [client.ask(**kwargs).status for _ in range(n)]


def limits(daemon):
    return daemon.admin.get("/v1/limits")["limits"]


def test_what_is_too_much_is_429_and_says_when_to_come_again(weir, app):
    daemon = weir(app().addresses, **route(ONE))
    with daemon.connect() as client:
        assert [client.ask().status for _ in range(3)] == [200] * 3
        answer = client.ask()
    assert answer.status == 429
    assert 3590 <= int(answer.get("Retry-After")) <= 3600
    assert answer.get("RateLimit-Policy") == '"client-ip";q=3;w=10800'
    assert answer.get("RateLimit").startswith('"client-ip";r=0;t=10')
    assert b"rate_limit" in answer.body
    row, = limits(daemon)
    assert (row["passed"], row["refused"]) == (3, 1)
    assert row["offenders"][0]["key"] == "127.0.0.1" and row["offenders"][0]["refused"] == 1
    metrics = daemon.admin.metrics()
    labels = '{route="api",key="client-ip",dry_run="false"}'
    assert metrics["weir_rate_limit_passed_total" + labels] == 3
    assert metrics["weir_rate_limit_refused_total" + labels] == 1


def test_it_counts_over_all_workers_and_a_reload_forgets_nobody(weir, app):
    daemon = weir(app().addresses, workers=4, **route({"rate": "1/h", "burst": 40}))
    passed = sum(statuses(daemon, 5).count(200) for _ in range(20))
    assert passed == 40
    daemon.conf["routes"][0]["rate_limit"][0]["status"] = 503
    daemon.reload(daemon.conf)
    assert statuses(daemon, 3) == [503] * 3
    assert limits(daemon)[0]["refused"] == 63


def test_http2_is_told_the_same(weir, app):
    daemon = weir(app().addresses, **route(ONE))
    with H2(daemon.port) as peer:
        answers = []
        for number in (1, 3, 5, 7):
            peer.send(peer.headers(number, GET, end=True))
            answers.append(peer.response(number))
        assert [a.status for a in answers] == [200, 200, 200, 429]
        assert "retry-after" in dict(answers[-1].heads[-1])


def test_grpc_gets_resource_exhausted(weir, app):
    daemon = weir(app().addresses, **route({"rate": "1/h", "burst": 1}))
    grpc = [("Content-Type", "application/grpc"), ("TE", "trailers")]
    with daemon.connect() as client:
        assert client.ask("POST", headers=grpc, body=b"x").status == 200
        answer = client.ask("POST", headers=grpc, body=b"x")
    assert (answer.status, answer.get("grpc-status")) == (200, "8")


@pytest.mark.parametrize("key,same,other", [
    ("header:X-Key", [("X-Key", "a")], [("X-Key", "b")]),
    ("cookie:uid", [("Cookie", "x=1; uid=a")], [("Cookie", "uid=b")]),
    ("client-ip+header:X-Key", [("X-Key", "a")], [("X-Key", "b")]),
])
def test_keys_are_counted_apart(weir, app, key, same, other):
    daemon = weir(app().addresses, **route({**ONE, "key": key}))
    assert statuses(daemon, 4, headers=same) == [200] * 3 + [429]
    assert statuses(daemon, 1, headers=other) == [200]
    assert statuses(daemon, 4) == [200] * 3 + [429], "who has none shares one count"
    shown = [o["key"] for o in limits(daemon)[0]["offenders"]]
    assert len(shown) == 2 and not any("a" == o.split("+")[-1] for o in shown), "no value is shown"


@pytest.mark.parametrize("key,targets", [
    ("path", ["/login", "//login", "/x/../login", "/%6cogin", "/./login"]),
    ("query:user", ["/?user=a b".replace(" ", "+"), "/?user=a%20b", "/?us%65r=%61%20b",
                    "/?x=1&user=a+b", "/?user=%61+b"]),
    ("uri", ["/login?a=b c".replace(" ", "+"), "//login?a=b%20c", "/%6cogin?%61=b+c",
             "/x/../login?a=%62+c", "/login?a=b%20c"]),
    ("uri", ["/?a=b=c&d=%26", "/?a=b%3Dc&d=%26", "/?a=b%3dc&%64=%26", "//?a=b=%63&d=%26",
             "/?%61=b=c&d=%26"]),
    ("uri", ["/login", "/login?", "/logi%6e", "/./login?", "//login"]),
    ("path", ["/login" + "/." * n for n in (1100, 1200, 1300, 1400, 1500)]),
])
def test_another_spelling_is_not_another_client(weir, app, key, targets):
    daemon = weir(app().addresses, **route({**ONE, "key": key}))
    got = [statuses(daemon, 1, target=target)[0] for target in targets]
    assert got == [200] * 3 + [429] * 2


@pytest.mark.parametrize("one,other", [
    ("/?a=1&b=2", "/?a=1%26b=2"), ("/?a=b", "/?a%3Db"), ("/?a=%26", "/?a=%2526"),
    ("/?a=%2B", "/?a=+")])
def test_what_a_server_tells_apart_is_counted_apart(weir, app, one, other):
    daemon = weir(app().addresses, **route({**ONE, "key": "uri"}))
    assert statuses(daemon, 4, target=one) == [200] * 3 + [429]
    assert statuses(daemon, 4, target=other) == [200] * 3 + [429]


def test_who_is_not_trusted_cannot_be_somebody_else(weir, app):
    """X-Forwarded-For is no way around, and from a trusted proxy it tells clients apart."""
    daemon = weir(app().addresses, **route(ONE))
    got = [statuses(daemon, 1, headers=[("X-Forwarded-For", f"10.0.0.{i}")])[0] for i in range(5)]
    assert got == [200] * 3 + [429] * 2
    daemon = weir(app().addresses, listener={"trusted_proxies": ["127.0.0.1"]}, **route(ONE))
    got = [statuses(daemon, 1, headers=[("X-Forwarded-For", f"10.0.0.{i}")])[0] for i in range(5)]
    assert got == [200] * 5
    same = [[("X-Forwarded-For", f"2001:db8:1:2::{i}")] for i in range(5)]
    assert [statuses(daemon, 1, headers=h)[0] for h in same] == [200] * 3 + [429] * 2, "one /64"


def test_a_dry_run_only_counts_and_says_so(weir, app):
    daemon = weir(app().addresses, **route({**ONE, "dry_run": True}))
    assert statuses(daemon, 9) == [200] * 9
    assert limits(daemon)[0]["refused"] == 6
    assert limits(daemon)[0]["dry_run"] is True
    wait_for(lambda: "dry run) would refuse requests of 127.0.0.1\n" in daemon.stderr,
             what="a line in the log")


def test_who_has_no_value_is_said_as_such(weir, app):
    """Not as a word that may be a value: a host may be called none."""
    daemon = weir(app().addresses, **route({**ONE, "key": "header:X-Key", "dry_run": True}))
    assert statuses(daemon, 4) == [200] * 4
    wait_for(lambda: "would refuse requests of (no value)\n" in daemon.stderr)
    assert [o["key"] for o in limits(daemon)[0]["offenders"]] == ["(no value)"]


def test_hostile_values_are_bounded_and_shown_safely(weir, app):
    daemon = weir(app().addresses, **route({**ONE, "key": "header:X-Key+path"}))
    for i in range(6):
        with daemon.connect() as client:
            client.ask(target="/" + "%1b[2J\"<x>" * 500, headers=[("X-Key", "\x80" * 7000)])
    assert "\x1b" not in daemon.ctl("limits", check=0).stdout
    row, = limits(daemon)
    assert row["refused"] == 3
    assert len(row["offenders"][0]["key"]) <= 64


def test_limits_of_weirctl(weir, app):
    daemon = weir(app().addresses)
    assert "no route has" in daemon.ctl("limits", check=0).stdout
    daemon.conf.update(route(ONE, {"key": "path", "rate": "1000/s"}))
    daemon.reload(daemon.conf)
    statuses(daemon, 5)
    out = daemon.ctl("limits", check=0).stdout
    assert all(text in out for text in ("client-ip", "1/h", "1000/s", "127.0.0.1")), out


def test_answers_of_weir_itself_are_limited_too(weir, app):
    daemon = weir(app().addresses, routes=[
        {"name": "hi", "respond": {"body": "hi"}, "rate_limit": [ONE]}])
    assert statuses(daemon, 4) == [200] * 3 + [429]


@pytest.mark.parametrize("limit,said", [
    ({"rate": "10"}, "no rate such as 100/s"),
    ({"rate": "300000/s"}, "more than 250000/s"),
    ({"key": "client", "rate": "1/s"}, "not one of client-ip"),
    ({"key": "client-ip+", "rate": "1/s"}, "not one of client-ip"),
    ({"rate": "1/s", "shared": True}, "needs 'shared: {redis: "),
    ({}, "'rate' is missing"),
    ({"rate": "1/d", "burst": 31}, "more than 30 days"),
])
def test_mistakes_are_told_at_their_place(tmp_path, limit, said):
    conf = make_conf(tmp_path, ["127.0.0.1:9"], **route(limit))
    (tmp_path / "weir.yaml").write_text(yaml.safe_dump(conf, sort_keys=False))
    done = subprocess.run([binary("weir"), "-t", "-c", tmp_path / "weir.yaml"],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr and "weir.yaml:" in done.stderr, done.stderr


def test_connections_per_client(weir, app):
    daemon = weir(app().addresses, workers=2,
                  listener={"limits": {"connections_per_client": 5}})
    clients = [daemon.connect() for _ in range(5)]
    assert all(c.ask().status == 200 for c in clients)
    for _ in range(3):
        daemon.connect().assert_closed()
    assert daemon.admin.metrics()["weir_per_client_refused_total"] == 3
    daemon.says("client 127.0.0.1 has limits.connections_per_client (5) open")
    assert 1 <= daemon.stderr.count("connections_per_client") <= daemon.conf["workers"]
    assert "3 connections beyond limits.connections_per_client" in daemon.ctl("doctor").stdout
    clients.pop().close()

    def again():
        client = daemon.connect()
        try:
            ok = client.ask().status == 200
        except (OSError, AssertionError):
            return False
        clients.append(client)
        return ok
    wait_for(again, what="there is room again")
    assert all(c.ask().status == 200 for c in clients)
