# SPDX-License-Identifier: MIT
"""What traffic says of backends: who is ejected, on trial, back."""
import re
import signal
import threading

import pytest

from backends import App
from test_health import health, named, spread, state_of, until
from wire import wait_for


def outlier(**kwargs):
    return {"interval": "10s", "eject": "400ms", **kwargs}


def load(daemon, seconds=None, n=None, until_true=None, threads=4):
    """Requests of several clients at once; {status: count}."""
    counts, stop, lock = {}, threading.Event(), threading.Lock()

    def run():
        client = daemon.connect(timeout=20)
        done = 0
        while not stop.is_set() and (n is None or done < n):
            status = client.ask().status
            done += 1
            with lock:
                counts[status] = counts.get(status, 0) + 1
    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        if until_true:
            wait_for(until_true, 10)
    finally:
        if n is None:
            stop.set()
        for worker in workers:
            worker.join()
    return counts


def ejections(daemon, name):
    rows = daemon.admin.metrics()
    return {cause: rows[f'weir_backend_ejections_total{{pool="app",backend="{name}",'
                        f'cause="{cause}"}}']
            for cause in ("consecutive_errors", "success_rate", "failures", "trial")}


def requests_to(client, status):
    """Asks until an answer has this status."""
    for _ in range(100):
        if client.ask().status == status:
            return
    raise AssertionError(f"no {status} in 100 requests")


def test_the_fifth_error_in_a_row_ejects_and_no_fourth(weir, app):
    backends = app(2)
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin",
                                                   "outlier": outlier(eject="300s",
                                                                      interval="300s")})
    client = daemon.connect()
    for _ in range(3):
        backends.set(1, status=500)
        for _ in range(4):
            requests_to(client, 500)
        backends.set(1, status=200)
        assert [client.ask().status for _ in range(2)] == [200, 200]  # one of them was its
    assert state_of(daemon, "b1") == "up" and not any(ejections(daemon, "b1").values())
    backends.set(1, status=500)
    for _ in range(5):
        requests_to(client, 500)
    until(daemon, "b1", "ejected")
    daemon.says("ejected: 5 errors in a row, the last: status 500")
    assert ejections(daemon, "b1")["consecutive_errors"] == 1
    assert spread(daemon, 30) == {"app-0": 30}


@pytest.mark.parametrize("balance", ["auto", "round-robin", "random", "least-request", "p2c",
                                     "prequal"])
def test_fast_500_are_ejected(weir, app, balance):
    backends = app(4, overrides=["2:status=500"])
    daemon = weir(named(backends.addresses), pool={"balance": balance,
                                                   "outlier": outlier(eject="300s")})
    counts = load(daemon, until_true=lambda: state_of(daemon, "b2") == "ejected")
    # the fifth shuts the gate, when four clients may be on their way; nothing else passes
    assert 5 <= counts[500] <= 20 and counts.keys() == {200, 500}, counts
    assert load(daemon, n=50) == {200: 200}
    row = daemon.backends()["b2"]
    said = re.fullmatch(r"(\d+) errors in a row, the last: status 500", row["reason"])
    assert said and 5 <= int(said[1]) <= counts[500], row["reason"]
    assert ejections(daemon, "b2")["consecutive_errors"] == 1
    daemon.says(f"ejected: {said[0]}")
    assert "errors in a row" in daemon.ctl("backends", check=0).stdout


def test_trial_of_one_request_after_an_ejection(weir, app):
    backends = app(3, overrides=["1:status=500"])
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin",
                                                   "outlier": outlier()})
    counts = load(daemon, until_true=lambda: ejections(daemon, "b1")["trial"] >= 2)
    # five, those until all threads had heard of it, then one for each trial
    trials = ejections(daemon, "b1")["trial"]
    assert counts[500] <= 200 + trials + 1, (counts, trials)
    backends.set(1, status=200)
    load(daemon, until_true=lambda: state_of(daemon, "b1") == "up"
         and "in service again" in daemon.events()[-1]["message"])
    assert set(spread(daemon, 30)) == {"app-0", "app-1", "app-2"}


def test_the_last_one_is_never_ejected(weir, app):
    backends = app(2, "status=500")
    daemon = weir(named(backends.addresses), pool={"outlier": outlier(max_ejected="100%")})
    counts = load(daemon, n=50)
    assert counts == {500: 200}
    states = sorted(r["state"] for r in daemon.backends().values())
    assert states in (["ejected", "up"], ["up", "up"]), states


def test_a_weight_of_0_is_nobody_to_fall_back_on(weir, app):
    backends = app(2, "status=500")
    daemon = weir([{"address": a, "name": f"b{i}", "weight": 1 - i} for i, a in
                   enumerate(backends.addresses)], pool={"outlier": outlier(max_ejected="100%")})
    assert load(daemon, n=20) == {500: 80}
    assert state_of(daemon, "b0") == "up"
    daemon.admin.post("/v1/pools/app/backends/b1", {"weight": 1})
    load(daemon, until_true=lambda: "ejected" in (state_of(daemon, "b0"), state_of(daemon, "b1")))


def test_max_ejected(weir, app):
    backends = app(5, "status=500", ["4:status=200"])
    daemon = weir(named(backends.addresses), pool={
        "balance": "round-robin", "outlier": outlier(eject="30s", max_ejected="40%")})
    load(daemon, n=100)
    assert [r["state"] for r in daemon.backends().values()].count("ejected") == 2


def test_what_does_not_count(weir, app):
    """404, 503 with Retry-After, clients that leave: no reason to eject."""
    backends = app(2)
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin",
                                                   "outlier": outlier(consecutive_errors=2)})
    client = daemon.connect()
    for _ in range(20):
        assert client.ask(target="/?status=404").status == 404
        assert client.ask(target="/?status=503&header=Retry-After%3A%201").status == 503
    for _ in range(10):
        gone = daemon.connect()
        gone.send(b"GET /?service=300ms HTTP/1.1\r\nHost: x\r\n\r\n")
        gone.close()
    wait_for(daemon.is_idle)
    assert {r["state"] for r in daemon.backends().values()} == {"up"}


def test_limits_and_hasty_clients_do_not_count(weir, app):
    """connect_limit is weir's own doing, and a deadline is the client's."""
    backends = app(2, "service=300ms")
    daemon = weir(named(backends.addresses), workers=1, listener={"refusal_header": "X-Refused"},
                  pool={"balance": "round-robin", "outlier": outlier(consecutive_errors=2),
                        "limits": {"connections": 1}, "retry": "off",
                        "timeouts": {"deadline_header": "X-Deadline-Ms"}})
    for _ in range(8):
        hasty = daemon.ask(headers=[("X-Deadline-Ms", "30")])
        assert (hasty.status, hasty.get("X-Refused")) == (504, "deadline_passed")
    refused = {}
    for _ in range(8):
        clients = [daemon.connect() for _ in range(6)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for response in [client.response() for client in clients]:
            if response.status != 200:
                why = response.get("X-Refused")
                refused[why] = refused.get(why, 0) + 1
    assert set(refused) == {"connect_limit"} and refused["connect_limit"] >= 8, refused
    rows = daemon.backends().values()
    assert {r["state"] for r in rows} == {"up"} and sum(r["errors"] for r in rows) == 0, rows


def test_a_deadline_far_beyond_the_usual_is_the_backends_fault(weir, app):
    """A hung backend behind clients that all give up early: nobody else would notice."""
    good, hung = app(), app()
    daemon = weir(named([good.addresses[0], hung.addresses[0]]), pool={
        "balance": "round-robin", "outlier": outlier(eject="30s"), "retry": "off",
        "timeouts": {"deadline_header": "X-Deadline-Ms"}})
    load(daemon, until_true=lambda: daemon.admin.get("/v1/pools/app").get("typical_us"))
    hung.kill(signal.SIGSTOP)
    try:
        client = daemon.connect(timeout=20)

        def ejected():
            client.ask(headers=[("X-Deadline-Ms", "250")])
            return state_of(daemon, "b1") == "ejected"
        wait_for(ejected, 20)
        assert "deadline" in daemon.backends()["b1"]["reason"]
    finally:
        hung.kill(signal.SIGCONT)


def test_off_is_off(weir, app):
    backends = app(2, overrides=["1:status=500"])
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin", "outlier": "off", "retry": "off"})
    counts = load(daemon, n=50)
    assert counts == {200: 100, 500: 100}
    conf = daemon.conf
    conf["pools"]["app"]["outlier"] = outlier(eject="30s")
    daemon.reload(conf)
    load(daemon, until_true=lambda: state_of(daemon, "b1") == "ejected")
    daemon.reload(conf)
    assert state_of(daemon, "b1") == "ejected"  # the same settings: it stays out
    conf["pools"]["app"]["outlier"] = "off"
    daemon.reload(conf)
    assert state_of(daemon, "b1") == "up"


def test_a_hung_backend_is_ejected_by_timeouts_and_returns(weir, app):
    good, hung = app(), app()
    daemon = weir(named([good.addresses[0], hung.addresses[0]]), workers=2, pool={
        "balance": "round-robin", "outlier": outlier(), "timeouts": {"response": "150ms"}})
    hung.kill(signal.SIGSTOP)
    try:
        counts = load(daemon, until_true=lambda: state_of(daemon, "b1") == "ejected")
        assert counts.get(504, 0) <= 5 + 4, counts
        assert "the last: the backend timed out" in daemon.backends()["b1"]["reason"]
    finally:
        hung.kill(signal.SIGCONT)
    load(daemon, until_true=lambda: "in service again" in daemon.events()[-1]["message"])
    assert "app1-0" in spread(daemon, 20)


def test_killed_under_load_costs_few_requests(weir, app, tmp_path):
    keep = app(3)
    mortal = App(tmp_path, name="mortal")
    daemon = weir(named([*keep.addresses, mortal.addresses[0]]), pool={"health": health()})
    until(daemon, "b3", "up")
    killed = []

    def kill():
        if not killed:
            mortal.kill(signal.SIGKILL)
            mortal.wait()
            killed.append(True)
        return state_of(daemon, "b3") in ("down", "ejected")
    counts = load(daemon, until_true=kill)
    assert set(counts) <= {200, 502}, counts
    assert counts.get(502, 0) <= 4, counts


def test_mostly_failing_is_found_by_the_sweep(weir, app, scripted):
    """Nine of ten fail, never five in a row over all clients: the comparison finds it."""
    n = [0]

    def flaky(peer):
        while peer.request():
            n[0] += 1
            peer.respond(status=200 if n[0] % 10 == 0 else 500)
    bad = scripted(flaky)
    backends = app(2)
    daemon = weir(named([*backends.addresses, bad.address]), pool={
        "balance": "round-robin",
        "outlier": {"interval": "300ms", "eject": "30s", "consecutive_errors": 0}})
    load(daemon, until_true=lambda: state_of(daemon, "b2") == "ejected")
    assert "requests failed, far more than elsewhere" in daemon.backends()["b2"]["reason"]
    assert ejections(daemon, "b2")["failures"] == 1


def test_slow_keeps_a_share(weir, app):
    backends = app(3, overrides=["1:service=20ms"])
    daemon = weir(named(backends.addresses), pool={
        "balance": "random", "outlier": {"interval": "400ms"}})
    load(daemon, until_true=lambda: daemon.backends()["b1"]["share"] < 0.5, threads=8)
    message = next(e["message"] for e in daemon.events() if "slow" in e["message"])
    assert message.startswith("slow: half of its answers take longer than "), message
    backends.reset()
    load(daemon, n=100)
    got = [backends.stats(i)["requests"] for i in range(3)]
    assert 0 < got[1] < got[0] / 1.5, got


def test_flapping(weir, app):
    """Verdicts that change all the time, reloads in between: nobody notices."""
    backends = app(30)
    daemon = weir(named(backends.addresses), workers=2, pool={
        "health": health(interval="20ms", fast_interval="10ms", rise=1, fall=1)})
    daemon.fd_check = False
    until(daemon, "b29", "up")
    rounds = [0]

    def flap():
        for i in range(0, 30, 3):
            backends.set(i, status=200 if rounds[0] % 2 else 500)
        if rounds[0] % 5 == 0:
            daemon.reload(daemon.conf)
        rounds[0] += 1
        return rounds[0] >= 20
    counts = load(daemon, until_true=flap)
    # a 500 may slip through between the flip and the check that sees it
    assert set(counts) <= {200, 500} and counts[200] > 6 * counts.get(500, 0), counts
    for i in range(0, 30, 3):
        backends.set(i, status=200)
    wait_for(lambda: all(r["state"] != "down" for r in daemon.backends().values()))
