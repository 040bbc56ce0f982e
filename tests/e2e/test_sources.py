# SPDX-License-Identifier: MIT
"""Members that are not written: names in the DNS, a file; and what others do with them."""
import json
import os
import signal
import socket
import threading
import time

import pytest

from backends import free_port
from sources import Dnsmasq, members, source, until_members
from wire import request, wait_for


@pytest.fixture
def dns(tmp_path):
    server = Dnsmasq(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def serve(weir, tmp_path):
    """serve(pools, **top): a daemon with these pools, a route /NAME to each."""
    def start(pools, **top):
        routes = [{"match": {"path": f"/{name}"}, "pool": name} for name in pools]
        daemon = weir([], pools=pools, routes=routes, **top)
        daemon.fd_check = False  # the resolver and watches have descriptors of their own
        return daemon
    return start


# The members of these tests are all of 127.0.0.0/8.
EVERYWHERE = ["--listen", "0.0.0.0:0"]


def ports(backend):
    return [a.rpartition(":")[2] for a in backend.addresses]


# ---- DNS ----

def test_a_name_is_its_addresses(serve, dns, app):
    port = ports(app(options=EVERYWHERE))[0]
    dns.say({"app.test": ["127.0.0.1", "127.0.0.2"]})
    daemon = serve({"app": {"backends": [f"app.test:{port}"]}}, dns={"servers": dns.address})
    one, two, three = (f"127.0.0.{i}:{port}" for i in (1, 2, 3))
    assert set(daemon.backends()) == {one, two}, "the first request finds them"
    assert daemon.ask(target="/app").status == 200
    dns.say({"app.test": ["127.0.0.1", "127.0.0.3"]})
    until_members(daemon, [one, three])
    assert daemon.ask(target="/app").status == 200
    kinds = [e["kind"] for e in daemon.events()]
    assert "source" in kinds
    said = daemon.ctl("sources", check=0).stdout
    assert f"app.test:{port}" in said and f"app/{three}" in said and "DNS" in said
    rows = daemon.admin.metrics()
    label = f'pool="app",kind="dns",source="app.test:{port}"'
    assert rows[f'weir_source_members{{{label},state="here"}}'] == 2
    assert rows[f"weir_source_up{{{label}}}"] == 1


def test_who_is_gone_finishes_what_it_has(serve, dns, app):
    """A state of its own; running exchanges end well, new ones go elsewhere."""
    backend = app(2, "service=1500ms")
    slow, other = ports(backend)
    dns.again(f"srv-host=_http._tcp.app.test,one.test,{slow},0,1",
              f"srv-host=_http._tcp.app.test,two.test,{other},10,1")
    dns.say({"one.test": ["127.0.0.1"], "two.test": ["127.0.0.1"]})
    daemon = serve({"app": {"backends": [{"srv": "_http._tcp.app.test"}], "outlier": "off"}},
                   dns={"servers": dns.address})
    first, second = f"127.0.0.1:{slow}", f"127.0.0.1:{other}"
    assert members(daemon) == {first: ("here", 1, 0), second: ("here", 1, 1)}
    client = daemon.connect()
    client.send(request("GET", "/app"))
    wait_for(lambda: daemon.backends()[first]["in_flight"] == 1)
    dns.again(f"srv-host=_http._tcp.app.test,two.test,{other},10,1")
    wait_for(lambda: daemon.backends().get(first, {}).get("state") == "gone" or
             first not in daemon.backends())
    assert client.response().status == 200
    until_members(daemon, [second])
    assert daemon.ask(target="/app").status == 200


def test_a_large_service_is_whole_and_stays(serve, dns):
    """Hundreds of records come over TCP, more targets than are asked about at a time."""
    records = {(f"t{i}.test", 9000 + i % 7, i % 2, 1 + i % 3) for i in range(400)}
    dns.again(*(f"srv-host=_http._tcp.app.test,{target},{port},{priority},{weight}"
                for target, port, priority, weight in sorted(records)))
    dns.say({f"t{i}.test": [f"127.0.{1 + i // 200}.{1 + i % 200}"] for i in range(400)})
    daemon = serve({"app": {"backends": [{"srv": "_http._tcp.app.test"}], "outlier": "off"}},
                   dns={"servers": dns.address})
    wait_for(lambda: source(daemon)["answers"] >= 3, what="the same question again")
    assert len(members(daemon)) == 400 and len(daemon.backends()) == 400
    assert source(daemon)["changes"] == 1 and not source(daemon)["error"]
    for i in (0, 199, 399):
        name = f"127.0.{1 + i // 200}.{1 + i % 200}:{9000 + i % 7}"
        assert members(daemon)[name] == ("here", 1 + i % 3, i % 2)


def test_more_priorities_than_a_pool_has(serve, dns):
    """The last ones are one, and it is said as long as it is so."""
    records = [f"srv-host=_http._tcp.app.test,t.test,{9000 + i},{7 * i},1" for i in range(260)]
    dns.again(*records)
    dns.say({"t.test": ["127.0.0.1"]})
    daemon = serve({"app": {"backends": [{"srv": "_http._tcp.app.test"}], "outlier": "off"}},
                   dns={"servers": dns.address})
    wait_for(lambda: len(members(daemon)) == 260, what="all of them")
    ranks = {name: m[2] for name, m in members(daemon).items()}
    assert ranks == {f"127.0.0.1:{9000 + i}": min(i, 255) for i in range(260)}
    assert "256 priorities" in source(daemon)["error"]
    assert any("256 priorities" in p for p in daemon.admin.get("/v1/status")["problems"])
    wait_for(lambda: source(daemon)["answers"] >= 3, what="the same question again")
    assert "256 priorities" in source(daemon)["error"]
    assert daemon.stderr.count("256 priorities") == 1 and "answers again" not in daemon.stderr
    dns.again(*records[:256])
    dns.say({"t.test": ["127.0.0.1"]})
    wait_for(lambda: not source(daemon)["error"], what="it is over")
    assert daemon.stderr.count("answers again") == 1
    assert len({m[2] for m in members(daemon).values() if m[0] != "gone"}) == 256


def test_a_name_of_many_addresses_is_whole_and_stays(serve, dns):
    names = [f"127.0.{i // 200}.{1 + i % 200}" for i in range(600)]
    dns.say({"app.test": names})
    daemon = serve({"app": {"backends": ["app.test:9000"], "outlier": "off"}},
                   dns={"servers": dns.address})
    wait_for(lambda: source(daemon)["answers"] >= 3, what="the same question again")
    assert set(members(daemon)) == {f"{name}:9000" for name in names}
    assert source(daemon)["changes"] == 1 and not source(daemon)["error"]


def test_an_address_named_twice_is_one_member_and_the_same_each_time(serve, dns):
    """Of two records the one that comes first counts, whatever the order of the answers."""
    lines = ["srv-host=_http._tcp.app.test,one.test,9000,1,5",
             "srv-host=_http._tcp.app.test,two.test,9000,0,3",
             "srv-host=_http._tcp.app.test,three.test,9000,0,7"]
    dns.say({f"{name}.test": ["127.0.0.1"] for name in ("one", "two", "three")})
    dns.again(*lines)
    daemon = serve({"app": {"backends": [{"srv": "_http._tcp.app.test"}], "outlier": "off"}},
                   dns={"servers": dns.address})
    for order in (lines[::-1], lines[1:] + lines[:1]):
        dns.again(*order)
        before = source(daemon)["answers"]
        wait_for(lambda: source(daemon)["answers"] >= before + 2)
        assert members(daemon) == {"127.0.0.1:9000": ("here", 7, 0)}
    assert source(daemon)["changes"] == 1


def test_failures_keep_members(serve, dns, app):
    """SERVFAIL, silence and empty answers change nothing; NXDOMAIN does after dns.gone."""
    port = ports(app(options=EVERYWHERE))[0]
    name = f"127.0.0.1:{port}"
    dns.say({"app.test": ["127.0.0.1"]})
    daemon = serve({"app": {"backends": [f"app.test:{port}"]}},
                   dns={"servers": dns.address, "gone": "3s", "timeout": "200ms"})
    assert set(daemon.backends()) == {name}
    dns.stop()  # nobody answers
    wait_for(lambda: source(daemon)["error"])
    assert daemon.ask(target="/app").status == 200
    problems = daemon.admin.get("/v1/status")["problems"]
    assert any("app.test" in p and "1 member stays" in p for p in problems), problems
    doctor = daemon.ctl("doctor").stdout
    assert "app.test" in doctor and "weirctl sources says since when" in doctor, doctor
    dns.again("txt-record=app.test,here")  # it exists, and has no address
    dns.say({})
    wait_for(lambda: "empty answer" in (source(daemon)["error"] or ""))
    assert set(daemon.backends()) == {name}
    dns.again()
    dns.say({"other.test": ["127.0.0.1"]})
    wait_for(lambda: "not found" in (source(daemon)["error"] or ""))
    until_members(daemon, [], what="after dns.gone")
    assert daemon.ask(target="/app").status == 503
    assert "not found; it has no members" in daemon.ctl("doctor").stdout
    dns.say({"app.test": ["127.0.0.1"]})
    until_members(daemon, [name])
    wait_for(lambda: source(daemon)["error"] is None)
    assert daemon.ask(target="/app").status == 200


def test_a_server_that_refuses_is_not_one_that_is_away(serve, dns, app):
    port = ports(app(options=EVERYWHERE))[0]
    dns.say({"app.elsewhere": ["127.0.0.1"]})
    daemon = serve({"app": {"backends": [f"app.elsewhere:{port}"]}}, dns={"servers": dns.address})
    assert daemon.ask(target="/app").status == 200
    dns.say({})  # neither its own nor anybody's that it knows
    wait_for(lambda: "REFUSED" in (source(daemon)["error"] or ""))
    assert daemon.ask(target="/app").status == 200
    dns.say({"app.elsewhere": ["127.0.0.2"]})
    until_members(daemon, [f"127.0.0.2:{port}"])
    assert source(daemon)["error"] is None


def test_a_name_that_does_not_resolve_at_start(serve, dns, app):
    backend = app(options=EVERYWHERE)
    port = ports(backend)[0]
    daemon = serve({"app": {"backends": [f"app.test:{port}"]},
                    "both": {"backends": [f"nowhere.test:{port}", backend.addresses[0]]}},
                   dns={"servers": dns.address})
    assert daemon.ask(target="/app").status == 503
    assert daemon.ask(target="/both").status == 200
    assert daemon.admin.call("GET", "/readyz").status == 503
    dns.say({"app.test": ["127.0.0.1"]})
    until_members(daemon, [f"127.0.0.1:{port}"])
    assert daemon.ask(target="/app").status == 200
    assert daemon.admin.call("GET", "/readyz").status == 200


def test_what_is_asked_now_is_not_watched(serve, app):
    """A name is asked for, again and again; nobody says when it changes."""
    port = ports(app(options=EVERYWHERE))[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        daemon = serve({"app": {"backends": [f"app.test:{port}"]}},
                       dns={"servers": f"127.0.0.1:{silent.getsockname()[1]}", "timeout": "60s",
                            "tries": 1})
        assert source(daemon)["next_s"] == 0 and source(daemon)["answer_age_s"] is None
        said = daemon.ctl("sources", check=0).stdout
        assert "never" in said and "watching" not in said, said


def test_hosts_file(serve, app):
    port = ports(app(options=EVERYWHERE))[0]
    daemon = serve({"app": {"backends": [f"localhost:{port}"]}},
                   dns={"servers": f"127.0.0.1:{free_port()}", "timeout": "100ms"})
    wait_for(lambda: f"127.0.0.1:{port}" in daemon.backends())
    assert daemon.ask(target="/app").status == 200


# ---- what other parts of weir do with them ----

def test_runtime_changes_reload_and_hand_over(serve, dns, app):
    port = ports(app(options=EVERYWHERE))[0]
    dns.say({"app.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]})
    conf = {"app": {"backends": [f"app.test:{port}"]}}
    daemon = serve(conf, dns={"servers": dns.address, "timeout": "100ms"})
    one, two, three = (f"127.0.0.{i}:{port}" for i in (1, 2, 3))
    daemon.ctl("weight", f"app/{one}", "7", check=0)
    daemon.ctl("drain", f"app/{two}", check=0)

    def as_changed():
        rows = daemon.backends()
        return {n: (r["weight"], r["state"]) for n, r in rows.items()} == {
            one: (7, "up"), two: (1, "draining"), three: (1, "up")}
    assert as_changed()
    daemon.reload()
    assert as_changed()
    dns.say({"app.test": ["127.0.0.1", "127.0.0.2"]})
    until_members(daemon, [one, two])
    dns.say({"app.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]})
    until_members(daemon, [one, two, three])
    assert as_changed()
    dns.stop()  # what the other process knows it was told
    daemon.kill(signal.SIGUSR2)
    pid = wait_for(daemon.successor, 20)
    try:
        assert as_changed()
        assert daemon.ask(target="/app").status == 200
    finally:
        os.kill(pid, signal.SIGTERM)
        daemon.wait()
        daemon.checked = True
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 20)


def test_file(serve, app, tmp_path):
    backend = app(3, options=EVERYWHERE)
    one, two, three = backend.addresses
    path = tmp_path / "members.yaml"
    path.write_text(f"- {{address: '{one}', name: first, weight: 3}}\n")
    daemon = serve({"app": {"discover": {"file": str(path)}}})
    assert members(daemon) == {"first": ("here", 3, 0)}

    def put(text):
        new = tmp_path / "members.new"
        new.write_text(text)
        new.rename(path)
    put(json.dumps([{"address": one, "name": "first"}, {"address": two, "priority": 1}]))
    until_members(daemon, ["first", two])
    assert daemon.backends()["first"]["weight"] == 1
    for broken, said in (("[", "YAML"), (f"- {{adress: '{one}'}}\n", "is missing"),
                         ("- app.test:80\n", "has an address"), ("", "it is empty; []"),
                         ("text", "is no list of members")):
        put(broken)
        wait_for(lambda: (source(daemon)["error"] or "").startswith(f"{path}:"))
        assert said in source(daemon)["error"]
        assert set(daemon.backends()) == {"first", two}
        put(json.dumps([{"address": one, "name": "first"}, {"address": two}]))
        wait_for(lambda: source(daemon)["error"] is None)
    path.unlink()
    wait_for(lambda: "cannot be read" in (source(daemon)["error"] or ""))
    assert daemon.ask(target="/app").status == 200
    put(json.dumps([{"address": three}]))
    until_members(daemon, [three])
    put("[]")
    until_members(daemon, [])
    assert daemon.ask(target="/app").status == 503


def test_a_file_among_others_that_change_all_the_time(serve, app, tmp_path):
    one, two = app(2).addresses
    path, done = tmp_path / "members.json", threading.Event()
    path.write_text(json.dumps([{"address": one}]))
    daemon = serve({"app": {"discover": {"file": str(path)}}})
    until_members(daemon, [one])

    def busy():
        while not done.is_set():
            os.utime(other)
            time.sleep(0.0005)
    other = tmp_path / "other"
    other.write_text("")
    writer = threading.Thread(target=busy)
    writer.start()
    try:
        path.write_text(json.dumps([{"address": two}]))
        until_members(daemon, [two])
    finally:
        done.set()
        writer.join()


def test_members_that_are_weir_itself(serve, dns, tmp_path):
    """Said once for each, wherever it came from, as `weir -t` does of addresses."""
    port, file = free_port(), tmp_path / "members.yaml"
    dns.say({"app.test": ["127.0.0.1"], "away.test": ["127.0.0.9"]})
    file.write_text("[]")
    daemon = serve({"app": {"backends": [f"app.test:{port}", f"away.test:{port}"]},
                    "file": {"discover": {"file": str(file)}},
                    "api": {"backends": ["127.0.0.1:1"]}},
                   dns={"servers": dns.address}, listener={"bind": f"127.0.0.1:{port}"})
    wait_for(lambda: len(daemon.backends()) == 2)

    def said(pool):
        return daemon.stderr.count(f"of pool '{pool}' is the listener 'web' of this weir")
    assert said("app") == 1, daemon.stderr
    file.write_text(json.dumps([{"address": f"127.0.0.1:{port}"}]))
    wait_for(lambda: said("file") == 1, what="a member of a file is known as weir itself")
    daemon.ctl("add", "api", f"127.0.0.1:{port}", check=0)
    daemon.reload()
    daemon.ctl("weight", f"api/127.0.0.1:{port}", "2", check=0)
    assert [said(pool) for pool in ("app", "file", "api")] == [1, 1, 1], daemon.stderr
    told = [(e["pool"], e["message"]) for e in daemon.events() if "of this weir" in e["message"]]
    assert sorted(pool for pool, _ in told) == ["api", "app", "file"], told
