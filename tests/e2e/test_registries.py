# SPDX-License-Identifier: MIT
"""Members out of registries: etcd, Consul, Kubernetes; and many of them."""
import json
import os
import shutil
import signal
import ssl
import threading

import pytest
import yaml

from backends import SOURCE, free_port
from certs import Authority
from sources import Consul, Etcd, Kubernetes, members, source, until_members
from test_sources import EVERYWHERE, ports, serve  # noqa: F401, pylint: disable=unused-import
from wire import wait_for


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
