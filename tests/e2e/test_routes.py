# SPDX-License-Identifier: MIT
"""Routes: every match, every action, in the order of the file."""
import json
import subprocess
from collections import Counter

import pytest

from backends import free_port
from certs import Authority
from wire import Headers, Truncated, request, wait_for


@pytest.fixture
def routed(weir, app, tmp_path):
    """routed(routes) -> daemon with the pools blue, green and red (app instances 0, 1, 2)"""
    def start(routes, **kwargs):
        backend = app(3)
        pools = {name: {"backends": [address]}
                 for name, address in zip(("blue", "green", "red"), backend.addresses)}
        daemon = weir(pools=pools, routes=routes, **kwargs)
        daemon.app = backend
        return daemon
    return start


COLOURS = {"app-0": "blue", "app-1": "green", "app-2": "red"}


def colour(daemon, target="/", headers=(), method="GET", **kwargs):
    """Which pool answered, or the status if none did."""
    response = daemon.ask(method, target, headers, **kwargs)
    return COLOURS.get(response.get("X-App"), response.status)


def test_hosts(routed):
    daemon = routed([
        {"match": {"host": ["api.example.com", "api2.example.com"]}, "pool": "blue"},
        {"match": {"host": "*.example.com"}, "pool": "green"},
        {"pool": "red"},
    ])
    for host, expected in [("api.example.com", "blue"), ("API.Example.COM", "blue"),
                           ("api2.example.com:8080", "blue"), ("www.example.com", "green"),
                           ("a.b.example.com", "green"), ("example.com", "red"),
                           ("api.example.com.evil.org", "red"), ("evilexample.com", "red")]:
        assert colour(daemon, host=host) == expected, host


def test_path_prefix_ends_at_segments(routed):
    daemon = routed([{"match": {"path": "/v1"}, "pool": "blue"},
                     {"match": {"path": "/v2/"}, "pool": "green"}, {"pool": "red"}])
    for target, expected in [("/v1", "blue"), ("/v1/", "blue"), ("/v1/x?y", "blue"),
                             ("/v1?x", "blue"), ("/v10", "red"), ("/v2/x", "green"),
                             ("/v20", "red"), ("/", "red"), ("/V1", "red")]:
        assert colour(daemon, target) == expected, target


@pytest.mark.parametrize("target", ["/%76%31/x", "/a/../v1/x", "/./v1/x", "//v1/x", "/v1/%2e/x"])
def test_no_spelling_slips_past_a_route(routed, target):
    daemon = routed([{"match": {"path": "/v1"}, "pool": "blue"}, {"pool": "red"}])
    assert colour(daemon, target) == "blue"


def test_path_exact(routed):
    daemon = routed([{"match": {"path_exact": "/health"}, "pool": "blue"}, {"pool": "red"}])
    for target, expected in [("/health", "blue"), ("/health?x=1", "blue"), ("/health/", "red"),
                             ("/healthz", "red")]:
        assert colour(daemon, target) == expected, target


def test_path_regex(routed):
    daemon = routed([{"match": {"path_regex": "^/user/[0-9]+$"}, "pool": "blue"}, {"pool": "red"}])
    for target, expected in [("/user/42", "blue"), ("/user/42?x", "blue"), ("/user/x", "red"),
                             ("/user/42/x", "red")]:
        assert colour(daemon, target) == expected, target


def test_a_hostile_path_cannot_stall_a_regex(routed):
    daemon = routed([{"match": {"path_regex": "^/(a+)+$"}, "pool": "blue"}, {"pool": "red"}])
    before = daemon.cpu_seconds()
    assert colour(daemon, "/" + "a" * 5000 + "!") in ("red", 400, 500)
    assert daemon.cpu_seconds() - before < 5, "without limits it would be for ever"


def test_method(routed):
    daemon = routed([{"match": {"method": ["POST", "PUT"]}, "pool": "blue"}, {"pool": "red"}])
    for method, expected in [("POST", "blue"), ("PUT", "blue"), ("GET", "red"), ("PATCH", "red")]:
        assert colour(daemon, method=method) == expected, method


def test_header(routed):
    daemon = routed([{"match": {"header": {"X-Env": "canary"}}, "pool": "blue"},
                     {"match": {"header": {"X-Any": "*"}}, "pool": "green"}, {"pool": "red"}])
    for headers, expected in [([("X-Env", "canary")], "blue"), ([("x-env", "canary")], "blue"),
                              ([("X-Env", "prod")], "red"), ([("X-Any", "thing")], "green"),
                              ([], "red")]:
        assert colour(daemon, headers=headers) == expected, headers


def test_query(routed):
    daemon = routed([{"match": {"query": {"beta": "1"}}, "pool": "blue"},
                     {"match": {"query": {"any": "*"}}, "pool": "green"}, {"pool": "red"}])
    for target, expected in [("/?beta=1", "blue"), ("/?x=2&beta=1&y", "blue"), ("/?beta=12", "red"),
                             ("/?xbeta=1", "red"), ("/?any=thing", "green"), ("/beta=1", "red")]:
        assert colour(daemon, target) == expected, target


def test_a_plus_in_a_query(routed):
    """To most servers it is a blank, to some itself; %2B is never a blank."""
    daemon = routed([{"match": {"query": {"q": "a b"}}, "pool": "blue"},
                     {"match": {"query": {"q": "c++"}}, "pool": "green"}, {"pool": "red"}])
    for target, expected in [("/?q=a+b", "blue"), ("/?q=a%20b", "blue"), ("/?q=a%2Bb", "red"),
                             ("/?q=c%2b%2B", "green"), ("/?q=c++", "green"), ("/?q=c%20", "red")]:
        assert colour(daemon, target) == expected, target


def test_client(routed):
    daemon = routed([{"match": {"client": ["10.0.0.0/8"]}, "pool": "blue"},
                     {"match": {"client": ["127.0.0.0/8"]}, "pool": "green"}])
    assert colour(daemon) == "green"


def test_client_behind_a_trusted_proxy(routed):
    daemon = routed([{"match": {"client": ["10.0.0.0/8"]}, "pool": "blue"}, {"pool": "red"}],
                    listener={"trusted_proxies": ["127.0.0.1"]})
    assert colour(daemon, headers=[("X-Forwarded-For", "10.1.2.3")]) == "blue"
    assert colour(daemon, headers=[("X-Forwarded-For", "10.1.2.3, 192.0.2.1")]) == "red"


def test_all_parts_of_a_match_must_hold(routed):
    daemon = routed([{"match": {"host": "a.test", "path": "/x", "method": ["GET"]}, "pool": "blue"},
                     {"pool": "red"}])
    assert colour(daemon, "/x", host="a.test") == "blue"
    assert colour(daemon, "/x", host="b.test") == "red"
    assert colour(daemon, "/y", host="a.test") == "red"
    assert colour(daemon, "/x", host="a.test", method="POST") == "red"


def test_the_first_match_wins(routed):
    daemon = routed([{"match": {"path": "/a"}, "pool": "blue"},
                     {"match": {"path": "/a/b"}, "pool": "green"},
                     {"match": {"host": "a.test"}, "pool": "red"}])
    assert colour(daemon, "/a/b", host="a.test") == "blue"
    assert colour(daemon, "/b", host="a.test") == "red"


def test_no_match_is_404(routed):
    daemon = routed([{"match": {"host": "a.test"}, "pool": "blue"}])
    client = daemon.connect()
    for _ in range(3):
        assert client.ask(host="b.test").status == 404
    assert client.ask(host="a.test").status == 200


def test_split(routed):
    daemon = routed([{"split": {"blue": 75, "green": 25, "red": 0}}])
    client = daemon.connect()
    seen = Counter(client.ask().get("X-App") for _ in range(1000))
    assert 680 < seen["app-0"] < 820 and 180 < seen["app-1"] < 320 and seen["app-2"] == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(routed, status):
    daemon = routed([{"redirect": {"to": "https://{host}{uri}", "status": status}}])
    response = daemon.ask(target="/a/b?c=d", host="a.test")
    assert (response.status, response.get("Location")) == (status, "https://a.test/a/b?c=d")


def test_redirect_default_and_parts(routed):
    daemon = routed([{"redirect": {"to": "{scheme}://new.test/x{path}?q&{query}"}}])
    response = daemon.ask(target="/a?b=c")
    assert (response.status, response.get("Location")) == (308, "http://new.test/x/a?q&b=c")


def test_respond(routed):
    daemon = routed([
        {"match": {"path_exact": "/robots.txt"}, "respond": {"body": "no\n"}},
        {"match": {"path": "/json"},
         "respond": {"status": 503, "body": "{}", "content_type": "application/json"}},
        {"respond": {"status": 204}}])
    client = daemon.connect()
    response = client.ask(target="/robots.txt")
    assert (response.status, response.body) == (200, b"no\n")
    assert response.get("Content-Type").startswith("text/plain")
    assert client.ask("HEAD", "/robots.txt").get("Content-Length") == "3"
    response = client.ask(target="/json")
    assert (response.status, response.body) == (503, b"{}")
    assert response.get("Content-Type") == "application/json"
    response = client.ask(target="/")
    assert (response.status, response.body) == (204, b"")


def test_respond_to_an_upload(routed):
    daemon = routed([{"respond": {"body": "thanks"}}])
    client = daemon.connect()
    for size in (5, 100000):
        response = client.ask("POST", body=b"x" * size)
        assert response.body == b"thanks"
    if "close" not in response.get("Connection", ""):
        assert client.ask().body == b"thanks"


def echoed(daemon, *args, **kwargs):
    answer = daemon.ask(*args, **kwargs)
    assert answer.status == 200, answer
    answer = answer.json()
    return answer["target"], Headers(map(tuple, answer["headers"]))


def test_rewrite(routed):
    daemon = routed([{"match": {"path": "/v1"}, "pool": "blue",
                      "rewrite": {"path_regex": "^/v1/(.*)$", "path": "/$1",
                                  "host": "api.internal"}},
                     {"pool": "blue"}])
    target, headers = echoed(daemon, target="/v1/echo?a=b")
    assert target == "/echo?a=b"
    assert headers.get("Host") == "api.internal"
    assert headers.get("X-Forwarded-Host") == "weir.test"
    target, headers = echoed(daemon, target="/echo?x=/v1/y")
    assert (target, headers.get("Host")) == ("/echo?x=/v1/y", "weir.test")


def test_header_edits(routed):
    daemon = routed([{
        "pool": "blue",
        "request_headers": {"set": {"X-Env": "prod"}, "add": {"X-Many": "2"},
                            "remove": ["X-Debug"]},
        "response_headers": {"set": {"X-App": "set"}, "add": {"X-Extra": "1"},
                             "remove": ["Content-Type"]}}])
    answer = daemon.ask(target="/echo", headers=[("X-Debug", "1"), ("x-env", "dev"),
                                                 ("X-Many", "1")])
    headers = Headers(map(tuple, answer.json()["headers"]))
    assert headers.all("X-Env") == ["prod"]
    assert headers.all("X-Many") == ["1", "2"]
    assert "X-Debug" not in headers
    assert answer.headers.all("X-App") == ["set"]
    assert answer.get("X-Extra") == "1"
    assert "Content-Type" not in answer.headers


def test_header_edits_of_one_route_do_not_leak(routed):
    daemon = routed([{"match": {"path": "/echo"}, "pool": "blue",
                      "request_headers": {"set": {"X-Secret": "1"}}},
                     {"pool": "blue"}])
    client = daemon.connect()
    for target, there in [("/echo", True), ("/?echo=1", False), ("/echo", True)]:
        assert (b"X-Secret" in client.ask(target=target).body) == there


def test_response_timeout_of_a_route(routed):
    daemon = routed([{"match": {"path": "/slow"}, "pool": "blue", "timeouts": {"response": "20s"}},
                     {"pool": "blue", "timeouts": {"response": "100ms"}}])
    assert daemon.ask(target="/slow?head_delay=300ms").status == 200
    assert daemon.ask(target="/?head_delay=25s").status == 504


def test_total_timeout_of_a_route(routed):
    daemon = routed([{"pool": "blue", "timeouts": {"total": "200ms"}}])
    assert daemon.ask(target="/?head_delay=25s").status == 504
    client = daemon.connect()
    client.send(request(target="/bytes/100000?rate=5000"))
    with pytest.raises((Truncated, ConnectionResetError)):
        client.response()


def test_idle_timeout_of_a_route(routed):
    daemon = routed([{"pool": "blue", "timeouts": {"idle": "200ms"}}])
    client = daemon.connect()
    client.send(request(target="/bytes/100000?body_delay=25s"))
    with pytest.raises((Truncated, ConnectionResetError)):
        client.response()


@pytest.mark.slow
def test_ten_thousand_routes(routed):
    """Each is found.  That their number costs nothing is counted in tests/unit/route/cost.c."""
    routes = [{"match": {"host": f"h{i}.example.com", "path": f"/p{i}"},
               "respond": {"status": 200, "body": f"route {i}"}} for i in range(10000)]
    daemon = routed([*routes, {"match": {"path": "/last"}, "respond": {"status": 204}}])
    client = daemon.connect()
    for i in range(0, 10000, 101):
        assert client.ask(target=f"/p{i}/x", host=f"h{i}.example.com").body == b"route %d" % i
        assert client.ask(target=f"/p{i}", host=f"h{i + 1}.example.com").status == 404
        assert client.ask(target="/last", host=f"h{i}.example.com").status == 204


# ---- routes that nobody uses ----

def test_routes_are_counted(weir, scripted):
    routes = [{"name": "fixed", "match": {"path": "/x"}, "respond": {"status": 200, "body": "x"}},
              {"name": "rest", "pool": "app"}]
    daemon = weir([scripted().address], routes=routes)
    for target in ("/x", "/x/y", "/"):
        daemon.ask(target=target)
    wait_for(daemon.is_idle, 20, "all are counted")
    rows = daemon.admin.get("/v1/latency")["routes"]
    assert {row["name"]: row["requests"] for row in rows} == {"fixed": 2, "rest": 1}
    metrics = daemon.admin.metrics()
    assert metrics['weir_route_requests_total{route="fixed"}'] == 2


# ---- regular expressions that take too long ----

WILD = r"^/(?:(?:\w+)+\.php|\w*admin)$"


@pytest.mark.parametrize("routes", [
    [{"match": {"path_regex": WILD}, "respond": {"status": 403}}, {"pool": "app"}],
    [{"rewrite": {"path_regex": WILD, "path": "/denied"}, "pool": "app"}]])
def test_a_regex_at_its_limit_lets_nobody_pass(weir, scripted, routes):
    backend = scripted()
    daemon = weir([backend.address], routes=routes, workers=1)
    assert daemon.ask(target="/index").status == 200
    for _ in range(3):
        assert daemon.ask(target="/" + "x" * 40 + "admin").status == 500
    assert backend.n_requests == 1
    wait_for(lambda: daemon.admin.metrics()['weir_exchanges_total{outcome="regex_limit"}'] == 3)
    said = [line for line in daemon.stderr.splitlines() if "reached its limit" in line]
    assert len(said) == 1 and "route-1" in said[0]
    explained = daemon.admin.post("/v1/explain", {"url": "/" + "x" * 40 + "admin"})
    assert "reached its limit" in json.dumps(explained)


# ---- scheme, listener, cookie, host_regex, values by regex, not ----

def test_http_to_https_in_three_lines(weir, app, tmp_path):
    pair = Authority(tmp_path).issue("shop", ["shop.example"])
    plain, secure = free_port(), free_port()
    daemon = weir(conf={
        "listeners": [{"name": "plain", "bind": f"127.0.0.1:{plain}"},
                      {"bind": f"127.0.0.1:{secure}", "tls": {"certificates": [pair.conf]}}],
        "routes": [{"match": {"scheme": "http"}, "redirect": {"to": "https://{host}{uri}"}},
                   {"pool": "app"}],
        "status": {"socket": str(tmp_path / "weir-0.sock")},
        "pools": {"app": {"backends": app().addresses}}})
    answer = daemon.ask(target="/a?b=c", host=f"shop.example:{plain}")
    assert (answer.status, answer.get("Location")) == (308, "https://shop.example/a?b=c")
    for protocol in ("--http1.1", "--http2"):
        said = subprocess.run(["curl", "-sk", protocol, "-o", "/dev/null", "-w", "%{http_code}",
                               f"https://127.0.0.1:{secure}/"], capture_output=True, text=True,
                              timeout=60, check=True).stdout
        assert said == "200", protocol


def test_listeners_are_told_apart(weir, app, tmp_path):
    ports = free_port(), free_port()
    daemon = weir(conf={
        "listeners": [{"name": "inside", "bind": f"127.0.0.1:{ports[0]}"},
                      {"name": "outside", "bind": f"127.0.0.1:{ports[1]}"}],
        "routes": [{"match": {"listener": "outside", "path": "/admin"}, "respond": {"status": 403}},
                   {"pool": "app"}],
        "status": {"socket": str(tmp_path / "weir-0.sock")},
        "pools": {"app": {"backends": app().addresses}}})
    statuses = [daemon.connect(port).ask(target="/admin").status for port in ports]
    assert statuses == [200, 403]


@pytest.mark.parametrize("match,yes,no", [
    ({"cookie": {"beta": "1"}}, [("Cookie", "a=b; beta=1")],
     [("Cookie", "beta=2; Beta=1; xbeta=1")]),
    ({"cookie": {"beta": "*"}}, [("Cookie", "beta=")], [("Cookie", "beta2=1")]),
    ({"cookie": {"id": {"regex": "^[0-9]+$"}}}, [("Cookie", "id=12")], [("Cookie", "id=1x")]),
    ({"header": {"User-Agent": {"regex": "(?i)bot"}}}, [("User-Agent", "GoogleBot/2")],
     [("User-Agent", "curl")]),
    ({"header": {"X-A": "*", "X-B": {"regex": "^b"}}}, [("X-A", ""), ("X-B", "bb")],
     [("X-B", "bb")]),
    ({"not": {"header": {"X-A": "1"}}}, [], [("X-A", "1")]),
    ({"not": {"client": ["10.0.0.0/8"]}}, [], None),
    ({"not": {"client": ["127.0.0.0/8"]}}, None, []),
    ({"not": {"client": ["127.0.0.0/8"], "path": "/elsewhere"}}, [], None),
    ({"not": {"host": "*.test", "path": "/", "method": ["GET"]}}, None, []),
    ({"not": {"host": "weir.example"}}, [], None),
])
def test_values_and_not(routed, match, yes, no):
    daemon = routed([{"match": match, "pool": "blue"}, {"pool": "red"}])
    if yes is not None:
        assert colour(daemon, headers=yes) == "blue"
    if no is not None:
        assert colour(daemon, headers=no) == "red"


def test_query_by_regex_is_decoded(routed):
    daemon = routed([{"match": {"query": {"q": {"regex": "^a b$"}}}, "pool": "blue"},
                     {"pool": "red"}])
    assert colour(daemon, "/?q=x&q=a%20b") == "blue"
    assert colour(daemon, "/?q=a+b") == "blue", "as forms write a blank"
    assert colour(daemon, "/?q=a%2bb") == "red"
    assert colour(daemon, "/?q=a%2520b") == "red"


def test_host_regex_and_its_groups(routed):
    daemon = routed([{"match": {"host_regex": r"^(\w+)\.example\.com$", "path_regex": "^/(x+)/"},
                      "redirect": {"to": "https://example.com/{1}/{2}"}}, {"pool": "red"}])
    answer = daemon.ask(target="/xx/y", host="Shop.Example.COM:8080")
    assert answer.get("Location") == "https://example.com/shop/xx"
    assert colour(daemon, "/xx/y", host="a.b.example.com") == "red"


SLOW = "^(a+)+$"


@pytest.mark.parametrize("match,target,headers", [
    ({"header": {"X-A": {"regex": SLOW}}}, "/", [("X-A", "a" * 40 + "!")]),
    ({"cookie": {"x": {"regex": SLOW}}}, "/", [("Cookie", "x=" + "a" * 40 + "!")]),
    ({"query": {"x": {"regex": SLOW}}}, "/?x=" + "a" * 40 + "!", []),
    ({"not": {"header": {"X-A": {"regex": SLOW}}}}, "/", [("X-A", "a" * 40 + "!")]),
])
def test_a_regex_at_its_limit_fails_closed(routed, match, target, headers):
    daemon = routed([{"match": match, "pool": "blue"}, {"pool": "red"}])
    assert colour(daemon, target, headers) == 500
    assert colour(daemon) in ("blue", "red")


def test_matches_see_what_backends_see(routed):
    routes = [{"match": {"header": {"X-Forwarded-For": {"regex": "6.6.6.6"}}}, "pool": "blue"},
              {"match": {"scheme": "https"}, "pool": "green"}, {"pool": "red"}]
    forged = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https")]
    assert colour(routed(routes), headers=forged) == "red"


def test_trusted_proxies_say_the_scheme(routed):
    daemon = routed([{"match": {"scheme": "https"}, "pool": "green"}, {"pool": "red"}],
                    listener={"trusted_proxies": ["127.0.0.0/8"]})
    assert colour(daemon, headers=[("X-Forwarded-Proto", "https")]) == "green"


def test_explain_says_why(routed):
    daemon = routed([
        {"name": "beta", "match": {"cookie": {"beta": "1"}, "path": "/"}, "pool": "blue"},
        {"name": "no-bots", "match": {"not": {"header": {"User-Agent": {"regex": "bot"}}}},
         "pool": "green"}, {"name": "rest", "pool": "red"}])
    ask = lambda **headers: daemon.admin.post("/v1/explain", {"url": "http://a.example/",
                                                              "headers": headers})
    answer = ask(Cookie="beta=1")
    assert (answer["route"], answer["matched"], answer["passed"]) == ("beta", "path /, cookie", [])
    answer = ask()
    assert (answer["route"], answer["matched"]) == ("no-bots", "not")
    assert answer["passed"] == [{"route": "beta", "why": "cookie does not hold"}]
    answer = ask(**{"User-Agent": "bot"})
    assert (answer["route"], answer["matched"]) == ("rest", "it matches every request")
    assert answer["passed"][1] == {"route": "no-bots", "why": "what stands in not holds"}
    said = daemon.ctl("explain", "GET", "http://a.example/").stdout
    assert "passed     beta: cookie does not hold" in said


def test_explain_takes_fields_as_a_client_sends_them(routed):
    """One by one: neither a value nor a cookie is what they are together."""
    daemon = routed([{"name": "key", "match": {"header": {"X-A": "1"}}, "pool": "green"},
                     {"name": "beta", "match": {"cookie": {"b": "2"}}, "pool": "blue"},
                     {"name": "rest", "pool": "red"}])
    for name, route in [("X-A: {}", "key"), ("Cookie: b={}", "beta")]:
        fields = [name.format(value) for value in "12"]
        ask = [tuple(field.split(": ")) for field in fields]
        assert colour(daemon, headers=ask) == {"key": "green", "beta": "blue"}[route]
        said = daemon.ctl("explain", "/", *(x for field in fields for x in ("-H", field)), check=0)
        assert f"route      {route}\n" in said.stdout, said.stdout


# ---- split_on ----

def test_a_client_keeps_its_side(routed):
    routes = [{"split": {"blue": 70, "green": 30}, "split_on": "cookie:uid"}]
    daemon = routed(routes)
    side = lambda i: colour(daemon, headers=[("Cookie", f"uid=u{i}")])
    before = [side(i) for i in range(60)]
    assert [side(i) for i in range(60)] == before
    assert 5 < before.count("green") < 35
    # a share that grows only gains clients
    daemon.conf["routes"][0]["split"] = {"blue": 50, "green": 50}
    daemon.reload(daemon.conf)
    after = [side(i) for i in range(60)]
    assert all(b == a for b, a in zip(before, after) if b == "green")
    assert after.count("green") > before.count("green")
    # without the cookie each request is drawn
    assert {colour(daemon) for _ in range(40)} == {"blue", "green"}


@pytest.mark.parametrize("on", ["client-ip", "header:X-User"])
def test_other_things_that_keep_a_side(routed, on):
    daemon = routed([{"split": {"blue": 50, "green": 50}, "split_on": on}])
    assert len({colour(daemon, headers=[("X-User", "me")]) for _ in range(20)}) == 1


# ---- limits.body_bytes, nearest wins ----

@pytest.mark.parametrize("chunked", [False, True])
def test_body_limits_of_routes(routed, chunked):
    daemon = routed([{"match": {"path": "/small"}, "pool": "blue", "limits": {"body_bytes": "1KiB"}},
                     {"match": {"path": "/large"}, "pool": "blue", "limits": {"body_bytes": "1MiB"}},
                     {"match": {"path": "/any"}, "pool": "blue", "limits": {"body_bytes": "0"}},
                     {"pool": "red"}],
                    listener={"limits": {"body_bytes": "64KiB"}})
    def ask(target, n):
        with daemon.connect() as client:
            if not chunked:
                return client.ask("POST", target, (), b"x" * n).status
            return client.ask("POST", target, [("Transfer-Encoding", "chunked")],
                              b"%x\r\n%s\r\n0\r\n\r\n" % (n, b"x" * n), length=False).status
    for target, n, status in [("/small", 1024, 200), ("/small", 1025, 413), ("/large", 70000, 200),
                              ("/large", (1 << 20) + 1, 413), ("/any", (1 << 20) + 1, 200),
                              ("/else", 65536, 200), ("/else", 65537, 413)]:
        assert ask(target, n) == status, (target, n)
