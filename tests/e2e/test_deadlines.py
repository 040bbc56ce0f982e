# SPDX-License-Identifier: MIT
"""Deadlines that clients set: told to backends, kept, and what is none."""
import time

import pytest

from openloop import Load
from test_resilience import named, pool_row
from wire import wait_for


def recorder(scripted, seen, name):
    def handler(peer):
        while request := peer.request():
            seen.append(request.get(name))
            peer.respond()
    return scripted(handler)


@pytest.mark.parametrize("name, sent, unit", [("grpc-timeout", "5S", "m"),
                                              ("grpc-timeout", "5000m", "m"),
                                              ("X-Deadline-Ms", "5000", "")])
def test_the_backend_is_told_what_is_left(weir, scripted, name, sent, unit):
    seen = []
    daemon = weir([recorder(scripted, seen, name).address],
                  pool={"timeouts": {"deadline_header": "X-Deadline-Ms"}})
    for body in (b"", b"x" * 5000):
        assert daemon.ask("POST" if body else "GET", headers=[(name, sent)],
                          body=body).status == 200
    assert len(seen) == 2
    for value in seen:
        assert value.endswith(unit)
        left = int(value.removesuffix(unit))
        assert 0 < left <= 4998


def test_time_in_the_queue_is_taken_off(weir, app, scripted):
    seen = []
    release = []

    def handler(peer):
        while request := peer.request():
            seen.append(request.get("X-Deadline-Ms"))
            if request.target == "/hold":
                wait_for(lambda: release)
            peer.respond()
    daemon = weir([scripted(handler).address], pool={
        "limits": {"requests": 1}, "queue": {"timeout": "20s"},
        "timeouts": {"deadline_header": "X-Deadline-Ms"}})
    holder, waiting = daemon.connect(), daemon.connect()
    holder.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: seen)
    begin = time.monotonic()
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Deadline-Ms: 20000\r\n\r\n")
    wait_for(lambda: pool_row(daemon)["queued"] == 1 and time.monotonic() - begin > 0.2)
    waited = time.monotonic() - begin
    release.append(True)
    assert waiting.response().status == holder.response().status == 200
    assert int(seen[1]) <= 20000 - waited * 1000 + 50


@pytest.mark.parametrize("name, sent", [("grpc-timeout", "1m"), ("grpc-timeout", "0S"),
                                        ("X-Deadline-Ms", "0"), ("grpc-timeout", "99n")])
def test_a_deadline_that_cannot_be_met_is_said_at_once(weir, scripted, name, sent):
    seen = []
    daemon = weir([recorder(scripted, seen, name).address],
                  pool={"timeouts": {"deadline_header": "X-Deadline-Ms"}},
                  listener={"refusal_header": "X-Refused"})
    response = daemon.ask(headers=[(name, sent)])
    assert (response.status, response.get("X-Refused")) == (504, "deadline_short")
    assert not seen


def test_a_deadline_below_what_answers_take_is_said_at_once(weir, app):
    """Half of the answers take 300 ms: who gives 100 has nothing to wait for."""
    apps = app(1, "service=300ms,workers=64")
    daemon = weir(named(apps), pool={"timeouts": {"deadline_header": "X-Deadline-Ms"}},
                  listener={"refusal_header": "X-Refused"})
    with Load(daemon.port, 40):
        wait_for(lambda: daemon.admin.get("/v1/pools/app").get("typical_us"), 20)
        refused = daemon.ask(headers=[("X-Deadline-Ms", "100")])
        assert (refused.status, refused.get("X-Refused")) == (504, "deadline_short")
        assert daemon.ask(headers=[("X-Deadline-Ms", "20000")]).status == 200
    row = apps.stats(0)
    assert row["requests"] == pool_row(daemon)["requests"] - 1, "it never came to the backend"


def test_a_deadline_ends_the_wait_and_never_lengthens_it(weir, app):
    apps = app(1, "hang=1")
    daemon = weir(named(apps), routes=[{"pool": "app", "timeouts": {"total": "400ms"}}],
                  listener={"refusal_header": "X-Refused"})
    response = daemon.ask(headers=[("grpc-timeout", "100m")])
    assert (response.status, response.get("X-Refused")) == (504, "deadline_passed")
    response = daemon.ask(headers=[("grpc-timeout", "60S")])
    assert (response.status, response.get("X-Refused")) == (504, "total_timeout")


@pytest.mark.parametrize("value", ["", "x", "5", "-1S", "123456789m", "5 S", "5s"])
def test_what_is_no_deadline_passes_as_it_is(weir, scripted, value):
    seen = []
    daemon = weir([recorder(scripted, seen, "grpc-timeout").address])
    assert daemon.ask(headers=[("grpc-timeout", value)]).status == 200
    assert seen == [value]
