# SPDX-License-Identifier: MIT
"""Members that are not written: names in the DNS, a file, etcd, Consul, Kubernetes."""
import json
import os
import shutil
import signal
import socket
import ssl
import threading
import time

import pytest
import yaml

from backends import SOURCE, free_port
from certs import Authority
from sources import Consul, Dnsmasq, Etcd, Kubernetes, members, source, until_members
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
    before = daemon.admin.get("/v1/status")["pid"]
    daemon.kill(signal.SIGUSR2)

    def successor():
        try:
            pid = daemon.admin.get("/v1/status")["pid"]
        except (OSError, AssertionError):
            return None
        return pid if pid != before else None
    pid = wait_for(successor, 20)
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


# ---- registries ----

@pytest.mark.skipif(not shutil.which("etcd"), reason="etcd is not installed")
def test_etcd(serve, app, tmp_path):
    backend = app(3, options=EVERYWHERE)
    one, two, three = backend.addresses
    etcd = Etcd(tmp_path)
    try:
        etcd.put("/weir/app/1", {"address": one, "name": "first", "weight": 2})
        etcd.put("/weir/apply", {"address": three})  # not below the prefix
        dead = f"http://127.0.0.1:{free_port()}"
        daemon = serve({"app": {"discover": {"etcd": {"endpoints": [dead, etcd.url],
                                                      "prefix": "/weir/app/"}}}})
        until_members(daemon, ["first"])
        etcd.put("/weir/app/2", {"address": two})
        until_members(daemon, ["first", two])
        for value, said in (("{}", "address"), ("text", "is no list of members"),
                            ("", "it is empty")):
            etcd.put("/weir/app/1", value)
            wait_for(lambda said=said: said in (source(daemon)["error"] or ""))
            assert "/weir/app/1" in source(daemon)["error"]
            assert set(daemon.backends()) == {"first", two}
        etcd.put("/weir/app/1", {"address": one, "name": "first", "weight": 5})
        wait_for(lambda: daemon.backends()["first"]["weight"] == 5)
        etcd.delete("/weir/app/2")
        until_members(daemon, ["first"])
        etcd.compact()
        etcd.put("/weir/app/3", {"address": three})
        until_members(daemon, ["first", three])
        etcd.kill(signal.SIGSTOP)
        assert daemon.ask(target="/app").status == 200
        etcd.kill(signal.SIGCONT)
    finally:
        etcd.kill(signal.SIGCONT)
        etcd.stop()
    wait_for(lambda: source(daemon)["error"])
    assert daemon.ask(target="/app").status == 200, "members stay"


def test_consul(serve, app):
    one, two = (int(p) for p in ports(app(2, options=EVERYWHERE)))
    consul = Consul()
    try:
        consul.say([("a", "127.0.0.1", one, 3), ("b", "", two, 1)])
        daemon = serve({"app": {"discover": {"consul": {"address": consul.url, "service": "web",
                                                        "tag": "prod"}}}})
        first, second = f"127.0.0.1:{one}", f"127.0.0.9:{two}"
        until_members(daemon, [first, second])
        assert members(daemon)[first] == ("here", 3, 0)
        path, query, _ = consul.asked[0]
        assert path == "/v1/health/service/web" and query == {"passing": "1", "tag": "prod"}
        wait_for(lambda: len(consul.asked) > 1)
        assert consul.asked[1][1]["index"] == "11"
        consul.say([("a", "127.0.0.1", one, 3)])
        until_members(daemon, [first])
        consul.say([("a", "127.0.0.1", one, 3), ("b", "", two, 1)], index=2)  # it began anew
        until_members(daemon, [first, second])
        wait_for(lambda: any("index" not in q for _, q, _ in consul.asked[1:]))
        consul.fails = True
        consul.say([], index=3)
        wait_for(lambda: "500" in (source(daemon)["error"] or ""))
        assert set(daemon.backends()) == {first, second}
        consul.fails = False
        consul.say([("a", "127.0.0.1", one, 1)], index=4)
        until_members(daemon, [first])
    finally:
        consul.stop()


def test_consul_that_asks_for_a_certificate(serve, app, tmp_path):
    port = int(ports(app(options=EVERYWHERE))[0])
    authority = Authority(tmp_path)
    pair, mine = authority.issue("consul", ["IP:127.0.0.1"]), authority.issue("weir")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.pem, pair.key)
    tls.load_verify_locations(authority.pem)
    tls.verify_mode = ssl.CERT_REQUIRED
    consul = Consul(tls)
    try:
        consul.say([("a", "127.0.0.1", port, 1)])
        daemon = serve({"app": {"discover": {"consul": {
            "address": consul.url, "service": "web", "ca": str(authority.pem),
            "cert": str(mine.pem), "key": str(mine.key)}}}})
        until_members(daemon, [f"127.0.0.1:{port}"])
    finally:
        consul.stop()


def test_kubernetes(serve, app, tmp_path):
    port = int(ports(app(options=EVERYWHERE))[0])
    authority = Authority(tmp_path)
    pair = authority.issue("api", ["IP:127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.pem, pair.key)
    token = tmp_path / "token"
    token.write_text("first\n")
    api = Kubernetes(tls)
    ip = "127.0.0.{}".format
    name = lambda i: f"{ip(i)}:{port}"  # noqa: E731
    try:
        api.put("web-1", [(ip(1), {"ready": True}), (ip(2), {}), (ip(3), {"ready": False})], port)
        api.put("web-2", [(ip(4), {"ready": None}),
                          (ip(5), {"ready": False, "serving": True, "terminating": True})], port)
        api.put("other", [], port)
        daemon = serve({"app": {"discover": {"kubernetes": {
            "namespace": "shop", "service": "web", "port": "http", "api": api.url,
            "token_file": str(token), "ca": str(authority.pem)}}}})
        until_members(daemon, [name(i) for i in (1, 2, 4, 5)])
        assert members(daemon)[name(5)][0] == "draining"
        wait_for(lambda: daemon.backends()[name(5)]["state"] == "draining")
        assert daemon.ask(target="/app").status == 200
        path, query, _ = api.asked[0]
        assert path == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
        assert query["labelSelector"] == "kubernetes.io/service-name=web"
        wait_for(lambda: api.watches)
        api.put("web-1", [(ip(1), {"ready": True})], port)
        until_members(daemon, [name(i) for i in (1, 4, 5)])
        api.delete("web-2")
        until_members(daemon, [name(1)])
        api.bookmark()
        n = len(api.asked)
        api.cut()  # a watch that ends goes on from the bookmark
        wait_for(lambda: len(api.asked) > n and api.watches)
        assert api.asked[n][1]["resourceVersion"] == str(api.version)
        api.put("web-3", [(ip(6), {"ready": True})], port)
        until_members(daemon, [name(1), name(6)])
        n = len(api.asked)
        api.compact()  # 410: it lists again
        wait_for(lambda: any("watch" not in q for _, q, _ in api.asked[n:]) and api.watches)
        token.write_text("second\n")
        api.token = "second"
        api.cut()
        wait_for(lambda: api.asked[-1][2]["Authorization"] == "Bearer second" and api.watches)
        api.put("web-3", [], port)
        until_members(daemon, [name(1)])
        api.token = "third"
        api.cut()
        wait_for(lambda: "401" in (source(daemon)["error"] or ""))
        assert daemon.ask(target="/app").status == 200
    finally:
        api.cut()
        api.stop()


def test_an_api_server_that_is_not_trusted(serve, app, tmp_path):
    backend = app(options=EVERYWHERE)
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    pair = authority.issue("api", ["IP:127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.pem, pair.key)
    token = tmp_path / "token"
    token.write_text("first")
    api = Kubernetes(tls)
    try:
        daemon = serve({"app": {"backends": backend.addresses, "discover": {"kubernetes": {
            "service": "web", "api": api.url, "token_file": str(token), "ca": str(other.pem)}}}})
        wait_for(lambda: "TLS failed" in (source(daemon)["error"] or ""))
        assert not api.asked, "no token for a stranger"
        assert daemon.ask(target="/app").status == 200
    finally:
        api.stop()


# ---- much ----

def test_many_members_that_change_all_the_time(serve, app, tmp_path):
    """1000 members, 50 changes a second: no request is lost, memory does not grow."""
    port = ports(app(options=EVERYWHERE))[0]
    path, new = tmp_path / "members.json", tmp_path / "members.new"
    every = [f"127.{1 + i // 250}.0.{1 + i % 250}:{port}" for i in range(1050)]

    def put(step):
        rows = [a for i, a in enumerate(every) if (i + step) % 21]
        new.write_text(json.dumps([{"address": a} for a in rows]))
        new.rename(path)
    put(0)
    daemon = serve({"app": {"discover": {"file": str(path)}}})
    wait_for(lambda: len(daemon.backends()) == 1000)
    statuses, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            statuses.append(daemon.ask(target="/app").status)
    asker = threading.Thread(target=ask)
    seconds = float(os.environ.get("WEIR_SOURCES_SECONDS", "4"))
    asker.start()
    sizes, cpu = [], daemon.cpu_seconds()
    try:
        for step in range(int(seconds * 50)):
            put(step)
            stop.wait(0.02)
            if step % 25 == 0:
                sizes.append(daemon.rss())
        used = daemon.cpu_seconds() - cpu
    finally:
        stop.set()
        asker.join()
    print(f"cpu {used:.2f} s, rss {sizes[0] >> 20} to {sizes[-1] >> 20} MiB, {len(statuses)} asked")
    assert set(statuses) == {200} and len(statuses) > 10
    assert source(daemon)["changes"] > 5
    middle = sizes[len(sizes) // 2]
    assert daemon.grew_less(middle, middle // 2 + (32 << 20)), sizes


def test_the_rights_are_the_least():
    """The manifest gives what the source asks for, in one namespace, and nothing else."""
    path = SOURCE / "conf" / "kubernetes-rights.yml"
    kinds = {doc["kind"]: doc for doc in yaml.safe_load_all(path.read_text())}
    assert set(kinds) == {"ServiceAccount", "Role", "RoleBinding"}
    assert kinds["Role"]["rules"] == [{"apiGroups": ["discovery.k8s.io"],
                                       "resources": ["endpointslices"],
                                       "verbs": ["list", "watch"]}]
    subject, = kinds["RoleBinding"]["subjects"]
    assert subject["name"] == kinds["ServiceAccount"]["metadata"]["name"]
    assert kinds["RoleBinding"]["roleRef"]["name"] == kinds["Role"]["metadata"]["name"]
    assert {doc["metadata"]["namespace"] for doc in kinds.values()} == {"shop"}
