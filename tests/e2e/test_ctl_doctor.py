# SPDX-License-Identifier: MIT
"""weirctl doctor against a fake daemon: what it finds, and what it says to do."""
import json

import pytest

from test_ctl_fake import ctl, fake, good  # noqa: F401, pylint: disable=unused-import


def findings(fake, code):
    done = ctl("-s", fake.path, "--json", "doctor")
    assert done.returncode == code, done
    return {row["finding"]: row for row in json.loads(done.stdout)["findings"]}


def content(fake):
    """A world that no rule complains about."""
    fake.world["pools"] = fake.world["pools"][:1]
    fake.world["pools"][0]["backends"][1]["state"] = "up"
    fake.world["pools"][0]["requests"] = 5


def test_doctor_is_content(fake):
    content(fake)
    assert good(fake, "doctor") == "nothing to complain about\n"


def test_doctor_gives_advice(fake):
    w = fake.world
    w["status"]["problems"] = ["worker 0 was busy for 150 ms in one go"]
    w["status"]["totals"].update(fd_exhausted=3, log_dropped=7)
    w["status"]["listeners"][0].update(refused=2, connections=45)
    w["config"]["listeners"][0]["limits"] = {"connections": 50}
    w["pools"][0].update(queued=8, queue_full=4, requests=0)
    w["pools"][0]["backends"][0].update(limit=3, connect_failures=5)
    w["config"]["pools"]["app"].update(
        queue={"length": 10, "timeout": "5s"},
        timeouts={"response": "1m", "connect": "2m"}, health={"interval": "1s", "timeout": "2s"})
    w["config"]["routes"] = [
        {"name": "all", "pool": "app", "timeouts": {"total": "5s"}},
        {"name": "late", "match": {"path": "/x"}, "pool": "app"}]
    w["certificates"] = [{"file": "old.pem", "not_after": "2020-01-01T00:00:00Z"},
                         {"file": "new.pem", "not_after": "2099-01-01T00:00:00Z"}]
    found = findings(fake, 1)
    problems = {text for text, row in found.items() if row["severity"] == "problem"}
    assert problems == {
        "worker 0 was busy for 150 ms in one go",
        "app/b1: 3 of 3 allowed by limits.requests",
        "route all matches everything: the 1 behind it are never used",
        "certificate old.pem expired 2020-01-01T00:00:00Z"}
    assert set(found) - problems == {
        "weir: 3 times accepting stopped for want of file descriptors since the start",
        "weir: 7 access log lines were dropped since the start",
        "listener web refused 2 connections since the start",
        "web: 45 of 50 allowed by limits.connections",
        "app: 4 exchanges were refused because the queue was full since the start",
        "app: 8 of 10 allowed by queue.length",
        "app/b1: 5 connections could not be opened since the start",
        "pool app got no request since the start",
        "pool api gets no requests: nothing leads to it",
        "pool api has one backend",
        "route all: timeouts.total ends an exchange before timeouts.response can",
        "route all: queue.timeout of pool app is not shorter than timeouts.total",
        "pool app: a stop cuts requests that timeouts.response would still wait for",
        "pool app: timeouts.connect is longer than timeouts.response",
        "pool app: a health check may take longer than the time to the next"}
    assert all(row["advice"] for row in found.values())
    out = ctl("-s", fake.path, "doctor").stdout
    assert out.count("problem  ") == 4 and "\n         raise the limit of open files" in out


def test_doctor_does_not_ask_for_the_app_where_tls_fails(fake):
    content(fake)
    row = fake.world["pools"][0]["backends"][0]
    row.update(connect_failures=5)
    assert ["is the app running" in row["advice"] for row in findings(fake, 0).values()] == [True]
    row.update(tls_error="certificate has expired")
    assert {text: row["advice"] for text, row in findings(fake, 0).items()} == {
        "app/b1: 5 connections could not be opened since the start; in TLS: certificate has expired":
        "openssl s_client -connect shows what the backend gives, pools.*.tls is what weir wants"}


TOLD = {
    "7 lines of the access log were dropped: it is too slow": "log.access.sample",
    "2 lines of the messages log were dropped: it is too slow": "standard error",
    "4 spans were dropped because the trace collector was behind": "tracing.sample",
    "accepting stopped 3 times for want of file descriptors: raise the limit of open files": "LimitNOFILE",
    "listener web has reached limits.connections (50): new connections are refused": "raise the limit",
}


def test_doctor_says_nothing_twice(fake):
    """What weir itself calls a problem is in its counters, too."""
    content(fake)
    status = fake.world["status"]
    status["totals"].update(fd_exhausted=3, log_dropped=7, trace_dropped=4)
    status["logs"] = {"messages": {"dropped": 2}}
    status["listeners"][0].update(connections=50)
    fake.world["config"]["listeners"][0]["limits"] = {"connections": 50}
    assert len(findings(fake, 1)) == len(TOLD)  # by its counters and limits alone
    status["problems"] = list(TOLD)
    found = findings(fake, 1)
    assert set(found) == set(TOLD)
    for text, advice in TOLD.items():
        assert advice in found[text]["advice"], text


@pytest.mark.parametrize("counter,said", [
    ("per_client_refused", "3 connections beyond limits.connections_per_client were closed"),
    ("proxy_headers_refused", "3 connections were closed for a missing or malformed PROXY header"),
    ("h2_heads_refused", "3 requests were refused because of limits.h2_head_bytes")])
def test_doctor_knows_what_was_refused(fake, counter, said):
    content(fake)
    fake.world["status"]["totals"][counter] = 3
    assert set(findings(fake, 0)) == {f"weir: {said} since the start"}


def certificate(**members):
    return {"file": "a.pem", "names": ["a.test", "*.w.test"], "key_type": "ECDSA P-256",
            "issuer": "CN=Root", "chain": "complete", "ocsp": "none",
            "not_before": "2020-01-01T00:00:00Z", "not_after": "2099-01-01T00:00:00Z", **members}


@pytest.mark.parametrize("members,severity,said", [
    ({}, None, None),
    ({"chain": "private"}, None, None),
    ({"key_type": "RSA 2048"}, None, None),
    ({"key_type": "RSA 1024"}, "problem", "certificate a.pem has a weak key: RSA 1024"),
    ({"names": []}, "problem", "certificate a.pem names no host: no client accepts it"),
    ({"chain": "incomplete"}, "note",
     "certificate a.pem is alone in its file, and its issuer CN=Root is no root that clients know"),
    ({"chain": "self-signed"}, "note",
     "certificate a.pem is signed by itself: no client trusts it"),
    ({"ocsp": "revoked"}, "problem", "certificate a.pem is revoked"),
    ({"ocsp": "expired"}, "note",
     "the OCSP response for certificate a.pem is out of date, and not stapled"),
    ({"not_before": "2098-01-01T00:00:00Z"}, "problem",
     "certificate a.pem is not valid before 2098-01-01T00:00:00Z"),
    ({"not_after": "2020-01-01T00:00:00Z"}, "problem",
     "certificate a.pem expired 2020-01-01T00:00:00Z")])
def test_doctor_looks_at_certificates(fake, members, severity, said):
    content(fake)
    fake.world["certificates"] = [certificate(**members)]
    found = findings(fake, 1 if severity == "problem" else 0)
    assert {text: row["severity"] for text, row in found.items()} == ({said: severity} if said else {})
    assert all(row["advice"] for row in found.values())


@pytest.mark.parametrize("closes,idle,said", [
    (5_000_000, "30s", True), (None, "30s", False), (60_000_000, "30s", False),
    (5_000_000, "2s", False)])
def test_doctor_explains_the_keep_alive_race(fake, closes, idle, said):
    content(fake)
    fake.world["pools"][0]["backends"][0].update(closes_idle_after_us=closes)
    fake.world["config"]["pools"]["app"].update(keepalive={"idle": idle})
    found = findings(fake, 0)
    assert set(found) == ({"app/b1 closes kept connections after 5.0 s, before keepalive.idle "
                           "(30.0 s)"} if said else set())
    assert all("in the moment" in row["advice"] for row in found.values())


@pytest.mark.parametrize("host,covered", [
    ("a.test", True), ("A.Test", True), ("x.w.test", True), ("*.w.test", True), ("b.test", False),
    ("w.test", False), ("x.y.w.test", False), ("*.test", False)])
def test_doctor_misses_names(fake, host, covered):
    content(fake)
    fake.world["certificates"] = [certificate()]
    for hosts in (host, [host]):
        fake.world["config"]["routes"] = [
            {"name": "r", "match": {"host": hosts}, "pool": "app"}]
        wanted = set() if covered else {
            f"route r is for {host}, but no certificate names that host"}
        assert set(findings(fake, 0)) == wanted
    fake.world["certificates"] = []  # no TLS here
    assert not findings(fake, 0)


def test_doctor_knows_unused_routes(fake):
    content(fake)
    w = fake.world
    w["config"]["routes"] = [{"name": n, "match": {"path": f"/{n}"}, "pool": "app"} for n in "ab"]
    w["routes"] = [{"name": "a", "requests": 0}, {"name": "b", "requests": 3}]
    assert set(findings(fake, 0)) == {"route a got no request since the start"}
    w["status"]["uptime_s"] = 60  # too early to tell
    assert not findings(fake, 0)
    w["status"]["uptime_s"] = 99999
    w["routes"] = []  # a daemon that does not count them
    assert not findings(fake, 0)


@pytest.mark.parametrize("conf,said", [
    ({"retry": {"attempt_timeout": "10s"}},
     "pool app: retry.attempt_timeout is not shorter than timeouts.response"),
    ({"retry": {"hedge": {"after": "30s"}}},
     "pool app: retry.hedge.after is not shorter than timeouts.response"),
    ({"slo": {"p95": "12s"}}, "pool app: slo.p95 is not shorter than timeouts.response"),
    ({"queue": {"timeout": "1s", "target": "1s"}},
     "pool app: queue.target is not shorter than queue.timeout"),
    ({"retry": {"attempt_timeout": "9s", "hedge": {"after": "p95"}}, "slo": {"p95": "1s"},
      "queue": {"timeout": "1s", "target": "250ms"}}, None)])
def test_doctor_compares_timeouts(fake, conf, said):
    content(fake)
    fake.world["config"]["pools"]["app"] = {"timeouts": {"response": "10s"}, **conf}
    assert set(findings(fake, 0)) == ({said} if said else set())


def test_doctor_counts_dropped_spans(fake):
    content(fake)
    fake.world["status"]["totals"]["trace_dropped"] = 4
    assert set(findings(fake, 0)) == {
        "weir: 4 spans were dropped because the trace collector was behind since the start"}
