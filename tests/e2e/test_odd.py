# SPDX-License-Identifier: MIT
"""The odd one out: a backend that fails fast is left alone, named, tried, and taken back."""
import contextlib
import json
import threading
import time

import pytest
from backends import pattern
from openloop import Closed, Load
from test_dashboard import next_tick, open_stream
from test_ejections import outlier
from test_health import named, state_of
from wire import wait_for


class Clients:
    """Closed-loop clients; what each answer was: status and body."""

    def __init__(self, daemon, n=8):
        self.answers, self._stop, self._lock = [], threading.Event(), threading.Lock()
        self._daemon = daemon
        self._threads = [threading.Thread(target=self._run) for _ in range(n)]

    def _run(self):
        client = self._daemon.connect(timeout=20)
        while not self._stop.is_set():
            answer = client.ask()
            with self._lock:
                self.answers.append((answer.status, answer.body))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def next(self, n):
        """The next n answers."""
        begin = len(self.answers)
        wait_for(lambda: len(self.answers) >= begin + n, 20)
        return self.answers[begin:begin + n]


@pytest.mark.parametrize("balance, deploy, mend, said", [
    ("auto", {"status": 404}, {"status": 200}, "answers 404"),
    ("least-request", {"status": 429}, {"status": 200}, "answers 429"),
    ("round-robin", {"body": 0}, {"body": 9}, "answers 2xx without a body"),
    ("auto", {"status": 501}, {"status": 200}, "answers some 5xx"),
    ("auto", {"body": 2}, {"body": 300}, "answers 2xx of less than 16 bytes"),
    ("auto", {"status": 304}, {"status": 200}, "answers 304 or 206 unasked"),
    ("peak-ewma", {"status": 500}, {"status": 200}, "5 errors in a row"),
])
def test_a_bad_deploy_is_left_alone_named_and_taken_back(weir, app, balance, deploy, mend, said):
    backends = app(4, "service=5ms")
    good = [(200, b"app-%d\n" % i) for i in (0, 1, 3)]
    if mend.get("body") == 300:
        good = [(200, pattern(300))]
        for i in range(4):
            backends.set(i, body=300)
    daemon = weir(named(backends.addresses), workers=2, pool={"balance": balance})
    with Clients(daemon) as clients:
        clients.next(100)
        backends.set(2, service=0, **deploy)
        wait_for(lambda: state_of(daemon, "b2") == "ejected", 10)
        assert said in daemon.backends()["b2"]["reason"]
        clients.next(30)  # those on their way
        late = clients.next(300)
        # a try a second; this takes less than one, on a busy machine a few
        assert sum(answer not in good for answer in late) <= 6, set(late)

        def verdict():
            scaling = daemon.admin.get("/v1/pools/app/scaling")
            return scaling["verdict"] == "odd" and scaling
        scaling = wait_for(verdict, 5)
        assert scaling["problem"] and scaling["sentence"].startswith("app/b2 "), scaling
        assert said in scaling["sentence"]
        rows = {row["name"]: row for row in scaling["backends"]}
        assert rows["b2"]["verdict"] == "odd" and rows["b1"]["verdict"] != "odd"
        assert any(said in problem and "b2" in problem
                   for problem in daemon.admin.get("/v1/status")["problems"])
        doctor = daemon.ctl("doctor", check=1).stdout
        assert "app/b2" in doctor and said in doctor, doctor
        assert said in daemon.ctl("backends", check=0).stdout
        assert "one backend differs" in daemon.ctl("scaling", "app", check=0).stdout
        assert any(said in event["message"] for event in daemon.events())
        backends.set(2, service="5ms", **mend)
        wait_for(lambda: state_of(daemon, "b2") == "up", 10)
        clients.next(30)
        begin = daemon.backends()["b2"]["requests"]
        clients.next(400)
        back = daemon.backends()["b2"]["requests"] - begin
        assert back >= 50, back  # of 100
    wait_for(lambda: daemon.admin.get("/v1/pools/app")["verdict"] != "odd", 5)


def test_the_stream_says_what_it_is_odd_for_and_nothing_beside(weir, app):
    """The opinion below is learning or leans to another: neither is told while it is not what is shown."""
    backends = app(4, "service=2ms")
    backends.set(2, status=404)
    daemon = weir(named(backends.addresses), pool={"balance": "round-robin", "outlier": outlier()},
                  insight={"interval": "1s"})
    with Clients(daemon, 1), open_stream(daemon.sock) as stream:
        told = looked = 0
        last = None
        while told < 8 or looked < 8:
            pool = next_tick(stream)["pools"][0]
            scaling = daemon.admin.get("/v1/pools/app/scaling")
            if pool["verdict"] == "odd":
                told += 1
                assert pool["problem"] and pool["sentence"].startswith("app/b2 answers 404 to "), pool
            if scaling["verdict"] == "odd":
                looked += scaling["looked_at"] != last
                last = scaling["looked_at"]
                assert scaling["next"] is None, scaling["next"]


def test_another_type_at_once_does_not_draw_the_requests_of_the_others(weir, app):
    """No smaller than theirs, from its first answer on: only its type tells it from them."""
    backends = app(4, "service=20ms")
    backends.set(2, service=0, echo=1)
    daemon = weir(named(backends.addresses), workers=2)
    good = [b"app-%d\n" % i for i in (0, 1, 3)]
    with Clients(daemon) as clients:
        wait_for(lambda: state_of(daemon, "b2") == "ejected", 20)
        assert "answers 2xx of JSON to 100 %" in daemon.backends()["b2"]["reason"]
        clients.next(30)  # those on their way
        late = clients.next(300)
        assert sum(answer[1] not in good for answer in late) <= 6, set(late)
        backends.set(2, service="5ms", echo=0)
        wait_for(lambda: state_of(daemon, "b2") == "up", 20)


def test_a_304_to_who_asked_for_it_is_as_good_as_a_200(weir, app):
    backends = app(4, "service=5ms")
    backends.set(2, status=304)
    daemon = weir(named(backends.addresses), workers=2, pool={"balance": "round-robin"})
    client = daemon.connect(timeout=20)
    for _ in range(400):
        assert client.ask(headers=[("If-None-Match", '"a"')]).status in (200, 304)
    assert state_of(daemon, "b2") == "up"


def share_of(load, app, seconds):
    """Its part of the good answers of the last moments; 0 of too few."""
    since = time.monotonic() - seconds
    rows = [row for row in load.rows[-2000:] if row[0] + row[1] >= since]
    return sum(row[2:] == (200, app) for row in rows) / len(rows) if len(rows) >= 20 else 0


@pytest.mark.parametrize("deploy, mend", [({"reset": "before"}, {"reset": "no"}),
                                          ({"status": 503}, {"status": 200})])
def test_it_is_back_soon_after_it_was_mended_when_many_ask(weir, app, deploy, mend):
    """Nobody's try is lost because another worker's is under way, or the pool is looked at."""
    backends = app(4, "service=20ms")
    daemon = weir(named(backends.addresses), workers=2, pool={"balance": "least-request"})
    with Closed(daemon.port, 64) as load:
        load.wait_for(200)
        backends.set(2, service=0, **deploy)
        wait_for(lambda: state_of(daemon, "b2") == "ejected", 10)
        begin = len(load.rows)
        load.wait_for(begin + 4000)  # tries fail, meanwhile
        backends.set(2, service="20ms", **mend)
        # 2 s, on a machine that has the time; a try that is lost is made up for after 30
        wait_for(lambda: share_of(load, "app-2", 0.25) > 0.125, 10)
    assert not load.failed


def test_an_answer_that_breaks_off_brings_nobody_back(weir, app):
    """A try is over at the end of its body, not at its head."""
    backends = app(4, "service=20ms,body=5000")
    daemon = weir(named(backends.addresses), workers=2, pool={"balance": "least-request"})
    with Closed(daemon.port, 16) as load:
        load.wait_for(200)
        backends.set(2, service=0, cut="body")
        wait_for(lambda: state_of(daemon, "b2") == "ejected", 10)
        before = [row["requests"] for row in backends.all_stats()]
        load.wait_for(len(load.rows) + 3000)  # more than three tries
        came = [row["requests"] - n for row, n in zip(backends.all_stats(), before)]
    assert came[2] <= 0.01 * sum(came), came


def test_all_alike_is_nobodys_fault(weir, app):
    """What clients ask for and nobody has, a redeployed pool: no reason to leave anybody alone."""
    backends = app(3, "service=2ms")
    daemon = weir(named(backends.addresses), pool={"outlier": outlier()})
    with Clients(daemon) as clients:
        clients.next(100)
        for i in range(3):
            backends.set(i, status=404)
        clients.next(1500)
    assert not any("404" in event["message"] for event in daemon.events() if event["kind"] != "verdict")
    assert {row["state"] for row in daemon.backends().values()} == {"up"}


def test_most_answers_of_a_pool_are_errors_whoever_gives_them(weir, app):
    """Nobody stands out, and whoever fails fast is quick: but nothing is healthy.  What counts as
    before takes a minute."""
    apps = {"wrong": app(2, "status=404"), "keyed": app(2, "status=403"), "deploy": app(2), "site": app(2)}
    pool = {"slo": {"p95": "1s"}, "outlier": {"max_ejected": "0%"}}
    daemon = weir(pools={name: {"backends": backends.addresses, **pool,
                                **({"balance": "maglev", "hash": {"on": "client-ip"}} if name == "keyed" else {})}
                         for name, backends in apps.items()},
                  routes=[{"match": {"path": f"/{name}"}, "pool": name} for name in apps],
                  insight={"interval": "1s"}, workers=2)

    def failing(name):
        scaling = daemon.admin.get(f"/v1/pools/{name}/scaling")
        return scaling["verdict"] == "failing" and scaling
    with contextlib.ExitStack() as stack:
        loads = {name: stack.enter_context(Load(daemon.port, 20, target=f"/{name}")) for name in apps}
        said = {name: wait_for(lambda name=name: failing(name), 100)["sentence"] for name in ("wrong", "keyed")}
        assert said["wrong"].startswith("answers 404 to 100 %: "), said
        assert said["keyed"].startswith("answers some 4xx to 100 %: "), said
        assert not failing("deploy") and not failing("site")
        loads["deploy"].wait_for(1400)
        for i in range(2):
            apps["deploy"].set(i, reset="before")
        now = wait_for(lambda: failing("deploy"), 30)
        assert now["problem"] and now["sentence"].startswith("gives no whole answer to "), now
        assert " % before: look at what was deployed or changed then" in now["sentence"], now
        problems = daemon.admin.get("/v1/status")["problems"]
        assert sum("pool deploy" in problem for problem in problems) == 1, problems
        assert "pool deploy: gives no whole answer to " in daemon.ctl("doctor", check=1).stdout
        assert "deploy: failing" in daemon.ctl("scaling", "deploy", check=0).stdout
        wait_for(lambda: any(event["message"].startswith("failing: gives no whole answer")
                             for event in daemon.events()), 20)
        for i in range(2):
            apps["deploy"].set(i, reset="no")
        wait_for(lambda: not failing("deploy"), 30)
    assert not failing("site")


def test_max_ejected_0_only_names_it(weir, app):
    backends = app(3, "service=2ms")
    daemon = weir(named(backends.addresses), pool={
        "balance": "round-robin", "outlier": outlier(max_ejected="0%")})
    with Clients(daemon) as clients:
        backends.set(1, status=403)
        clients.next(100)
        wait_for(lambda: "answers 403" in daemon.backends()["b1"]["reason"], 10)
        row = daemon.backends()["b1"]
        assert row["state"] == "up" and "max_ejected" in row["reason"], json.dumps(row)
        assert 403 in {status for status, _ in clients.next(100)}
