# SPDX-License-Identifier: MIT
"""Another attempt: after a status, with a pause, after a time-out; and a second one beside the first."""
import time
from email.utils import formatdate

import pytest

from openloop import Load
from test_resilience import in_turn, named, pool_row
from wire import SLOW, wait_for


def flaky(scripted, answers, seen):
    """Answers by turns as listed, then 200; (status, headers) each; notes who was asked."""
    left = list(answers)

    def server(name):
        def handler(peer):
            while request := peer.request():
                seen.append(name)
                status, headers = left.pop(0) if left else (200, [])
                peer.respond(status=status, headers=headers, body=f"{name} {status}".encode())
        return scripted(handler).address
    return server


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_status_is_retried_elsewhere_when_configured(weir, scripted, status):
    seen = []
    server = flaky(scripted, [(status, [])], seen)
    daemon = weir([server("a"), server("b")], pool={"retry": {"on": ["connect", str(status)]}})
    response = daemon.ask()
    assert response.status == 200 and sorted(seen) == ["a", "b"]
    assert pool_row(daemon)["retries"] == 1
    assert sum(b["errors"] for b in daemon.backends().values()) == 1


def test_a_status_is_not_retried_when_it_must_not_be(weir, scripted):
    seen = []
    server = flaky(scripted, [(503, [])] * 4, seen)
    daemon = weir([server("a"), server("b")], pool={"retry": {"on": ["503"]}})
    assert daemon.ask("POST", body=b"x").status == 503, "it is not idempotent"
    assert len(seen) == 1
    response = daemon.ask()
    assert response.status == 503 and len(seen) == 3, "one retry, then it is relayed"
    assert response.body.endswith(b"503")
    daemon.conf["pools"]["app"]["retry"] = {"on": ["connect"]}
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 503 and len(seen) == 4


def test_the_last_answer_is_relayed_when_nobody_else_is_there(weir, scripted):
    seen = []
    server = flaky(scripted, [(503, [("X-From", "app")])], seen)
    daemon = weir([server("a")], pool={"retry": {"on": ["503"], "attempts": 3}})
    response = daemon.ask()
    assert (response.status, response.get("X-From"), seen) == (503, "app", ["a"])
    assert daemon.ask().status == 200


@pytest.mark.parametrize("value", ["30", "9" * 40, "a date"])
def test_retry_after_is_honoured(weir, scripted, value):
    if value == "a date":
        value = formatdate(time.time() + 3600, usegmt=True)
    seen = []
    server = flaky(scripted, [(503, [("Retry-After", value)])], seen)
    daemon = weir([server("a"), server("b")],
                  pool={"retry": {"on": ["503"]}, "balance": "round-robin"}, workers=1)
    assert daemon.ask().status == 200
    asked = seen[0]
    assert [daemon.ask().status for _ in range(10)] == [200] * 10
    assert seen.count(asked) == 1, "it is left alone"


def test_backoff_then_success(weir, scripted):
    seen = []
    server = flaky(scripted, [(502, [])] * 3, seen)
    daemon = weir([server(n) for n in "abcd"],
                  pool={"retry": {"on": ["502"], "attempts": 3, "backoff": "20ms"}})
    assert daemon.ask().status == 200
    assert sorted(seen) == list("abcd"), "never one that was tried"
    assert pool_row(daemon)["retries"] == 3


def test_backoff_with_nobody_left(weir, scripted):
    seen = []
    server = flaky(scripted, [(502, [])] * 9, seen)
    daemon = weir([server("a"), server("b")],
                  pool={"retry": {"on": ["502"], "attempts": 5, "backoff": "1ms"}})
    assert daemon.ask().status == 502
    assert sorted(seen) == ["a", "b"]


def test_a_client_may_leave_during_the_backoff(weir, scripted):
    seen = []
    server = flaky(scripted, [(502, [])] * 9, seen)
    daemon = weir([server(n) for n in "abcd"],
                  pool={"retry": {"on": ["502"], "attempts": 5, "backoff": "30s"}})
    client = daemon.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: len(seen) == 2)
    client.reset()


def test_an_attempt_timeout_moves_on(weir, app):
    apps = app(2, overrides=["0:hang=1"])
    daemon = weir(in_turn(apps), pool={"retry": {"attempt_timeout": "100ms"}, "outlier": "off"})
    for _ in range(4):
        response = daemon.ask()
        assert (response.status, response.get("X-App")) == (200, "app-1")
    assert pool_row(daemon)["retries"] == 4


def test_an_attempt_timeout_lets_a_post_wait(weir, app):
    apps = app(2, "service=400ms")
    daemon = weir(named(apps), pool={"retry": {"attempt_timeout": "50ms"}})
    assert daemon.ask("POST", body=b"x").status == 200
    assert pool_row(daemon)["retries"] == 0
    assert apps.total("requests") == 1
    apps.set(0, hang="1")
    apps.set(1, hang="1")
    daemon.conf["pools"]["app"]["timeouts"] = {"response": "200ms"}
    daemon.reload(daemon.conf)
    assert daemon.ask("POST", body=b"x").status == 504
    assert daemon.ask().status == 504


def test_a_timeout_is_retried_when_configured(weir, app):
    apps = app(2, overrides=["0:hang=1"])
    daemon = weir(named(apps), pool={"retry": {"on": ["timeout"]}, "balance": "round-robin",
                                     "timeouts": {"response": f"{SLOW}s"}})
    assert [daemon.ask().status for _ in range(4)] == [200] * 4


# ---- hedging ----

def hedging(weir, addresses, after="50ms", budget="100%", **pool):
    return weir(addresses, workers=1, pool={
        "retry": {"hedge": {"after": after, "budget": budget}}, "balance": "round-robin",
        "timeouts": {"response": "5s"}, **pool})


def test_a_late_answer_is_asked_for_elsewhere(weir, app):
    apps = app(2)
    daemon = hedging(weir, in_turn(apps))
    apps.set(0, hang="1")
    response = daemon.ask()
    assert (response.status, response.get("X-App")) == (200, "app-1")
    row = pool_row(daemon)
    assert (row["hedges"], row["hedges_won"], row["retries"]) == (1, 1, 0)
    wait_for(lambda: apps.stats(0)["in_progress"] == 0, 5, "the loser was cut off")
    assert daemon.sum("in_flight") == 0


def test_the_first_to_answer_wins_even_when_late(weir, app):
    apps = app(2, "service=150ms", ["1:hang=1"])
    daemon = hedging(weir, named(apps))
    assert daemon.ask().status == 200
    row = pool_row(daemon)
    assert (row["hedges"], row["hedges_won"]) in ((1, 0), (1, 1))
    wait_for(lambda: apps.stats(1)["in_progress"] == 0, 5)


def test_what_is_not_hedged(weir, app):
    apps = app(2, "service=120ms")
    daemon = hedging(weir, named(apps))
    for method, body, headers in (("POST", b"x", ()), ("PUT", b"x", ()), ("GET", b"x", ()),
                                  ("GET", b"", (("grpc-timeout", "9S"),))):
        assert daemon.ask(method, headers=headers, body=body).status == 200
    assert pool_row(daemon)["hedges"] == 0
    assert apps.total("requests") == 4


def test_the_budget_bounds_hedges(weir, app):
    """All are slow: hedging would double the load."""
    apps = app(3, "service=60ms")
    daemon = hedging(weir, named(apps), after="1ms", budget="10%")
    with Load(daemon.port, 60) as load:
        load.wait_for(120)
    assert not load.failed and set(load.statuses) == {200}
    row = pool_row(daemon)
    assert 1 <= row["hedges"] <= 0.1 * row["requests"] + 1, row
    assert apps.total("requests") == row["requests"] + row["hedges"]


def test_a_primary_that_breaks_leaves_it_to_the_second(weir, scripted):
    asked = []

    def handler(peer):
        while peer.request():
            asked.append(peer)
            if len(asked) == 1:
                wait_for(lambda: len(asked) == 2)
                return  # closes: the second one is on its way
            wait_for(lambda: broken)
            peer.respond(body=b"second")
    broken = []
    servers = [scripted(handler), scripted(handler)]
    daemon = hedging(weir, [s.address for s in servers])
    client = daemon.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: sum(b["errors"] for b in daemon.backends().values()) == 1)
    broken.append(True)
    response = client.response()
    assert (response.status, response.body) == (200, b"second")
    assert pool_row(daemon)["retries"] == 0


def test_both_may_hang_and_both_may_die(weir, app):
    apps = app(3, "hang=1")
    daemon = hedging(weir, named(apps), timeouts={"response": "200ms"})
    assert daemon.ask().status == 504
    daemon.conf["pools"]["app"]["timeouts"]["response"] = "300s"
    daemon.reload(daemon.conf)
    client = daemon.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: daemon.sum("in_flight") >= 1)
    client.close()
    wait_for(lambda: daemon.sum("in_flight") == 0)
    assert pool_row(daemon)["hedges"] >= 1


def test_hedging_by_quantile_waits_for_data(weir, app):
    apps = app(2)
    daemon = hedging(weir, named(apps), after="p99")
    apps.set(0, service="100ms")
    assert daemon.ask().status == daemon.ask().status == 200
    assert pool_row(daemon)["hedges"] == 0, "nothing is known yet"
