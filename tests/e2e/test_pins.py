# SPDX-License-Identifier: MIT
"""Pins: cookies of weir, cookies of the app, and what becomes of them."""
import re
import signal
import threading

import pytest

from backends import free_port
from wire import wait_for

KEY = "a secret of thirty-two characters"


def pool_of(tmp_path, **sticky):
    key = tmp_path / "pin.key"
    if not key.exists():
        key.write_text(f"# pins\n{KEY}\n")
        key.chmod(0o600)
    return {"sticky": {"key_file": str(key), **sticky}}


def named(apps, **more):
    return [{"address": a, "name": f"b{i}", **more} for i, a in enumerate(apps.addresses)]


def cookie_of(response, name="weir"):
    for key, value in response.headers:
        if key.lower() == "set-cookie" and value.startswith(f"{name}="):
            return value.split(";")[0]
    return None


def pinned_to(daemon, backend):
    """A cookie of that backend."""
    for _ in range(200):
        response = daemon.ask()
        if response.get("X-App") == f"app-{backend}":
            return cookie_of(response)
    raise AssertionError(f"nobody came to {backend}")


def served_by(daemon, cookie):
    response = daemon.ask(headers=[("Cookie", cookie)])
    assert response.status == 200, response
    return response.get("X-App"), cookie_of(response)


def counter(daemon, name):
    return daemon.pools()[0][name]


def test_a_client_stays_with_its_backend(weir, app, tmp_path):
    apps = app(4)
    daemon = weir(named(apps), pool=pool_of(tmp_path))
    first = daemon.ask()
    cookie = cookie_of(first)
    assert cookie
    assert {served_by(daemon, cookie) for _ in range(40)} == {(first.get("X-App"), None)}
    assert counter(daemon, "pins_issued") == 1
    assert counter(daemon, "pins_honoured") == 40


def test_what_the_cookie_looks_like(weir, app, tmp_path):
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path, cookie="lb", ttl="1h", same_site="strict"))
    response = daemon.ask()
    value = response.get("Set-Cookie")
    assert re.fullmatch(r"lb=v1\.[0-9a-f]{2}\.[A-Za-z0-9_-]{38}; Path=/; HttpOnly; "
                        r"SameSite=Strict; Max-Age=3600", value), value
    assert "127" not in value and "b0" not in value.split(";")[0][:3]
    assert response.get("Cache-Control") == "private"


def test_the_app_does_not_see_it(weir, scripted, tmp_path):
    seen = []

    def handler(peer):
        while request := peer.request():
            seen.append([v for k, v in request.headers if k.lower() == "cookie"])
            peer.respond()
    backend = scripted(handler)
    daemon = weir([backend.address], pool=pool_of(tmp_path))
    cookie = cookie_of(daemon.ask())
    daemon.ask(headers=[("Cookie", f"a=1; {cookie}; b=2")])
    daemon.ask(headers=[("Cookie", cookie)])
    daemon.ask(headers=[("Cookie", "weir=nonsense; c=3"), ("Cookie", f"{cookie};d=4")])
    assert seen == [[], ["a=1; b=2"], [], ["c=3", "d=4"]]
    assert counter(daemon, "pins_refused") == 1


@pytest.mark.parametrize("bad", ["", "x", "v1.00." + "A" * 38, "v2" + "B" * 42, "A" * 4000,
                                 "v1.\"\".%00"])
def test_forged_cookies_are_replaced(weir, app, tmp_path, bad):
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path))
    response = daemon.ask(headers=[("Cookie", f"weir={bad}")])
    assert response.status == 200 and cookie_of(response)


def test_two_processes_agree_on_every_cookie(weir, app, tmp_path):
    apps = app(8)
    backends = named(apps)
    one = weir(backends, pool=pool_of(tmp_path))
    other = weir(backends[::-1], pool=pool_of(tmp_path))
    client, second = one.connect(), other.connect()
    seen = set()
    for _ in range(100):
        response = client.ask()
        cookie = cookie_of(response)
        again = second.ask(headers=[("Cookie", cookie)])
        assert again.get("X-App") == response.get("X-App")
        assert cookie_of(again) is None
        seen.add(response.get("X-App"))
    assert len(seen) == 8


def test_keys_rotate_by_reload(weir, app, tmp_path):
    apps = app(3)
    daemon = weir(named(apps), pool=pool_of(tmp_path))
    cookie = pinned_to(daemon, 1)
    (tmp_path / "pin.key").write_text(f"another secret, long enough\n{KEY}\n")
    daemon.reload(daemon.conf)
    where, renewed = served_by(daemon, cookie)
    assert where == "app-1" and renewed and renewed != cookie
    (tmp_path / "pin.key").write_text("another secret, long enough\n")
    daemon.reload(daemon.conf)
    assert served_by(daemon, renewed) == ("app-1", None)
    assert served_by(daemon, cookie)[1], "the old key is gone"


def test_draining_keeps_old_pins_and_gives_no_new_ones(weir, app, tmp_path):
    apps = app(3)
    daemon = weir(named(apps), pool={**pool_of(tmp_path), "balance": "round-robin"})
    cookies = [pinned_to(daemon, i) for i in range(3)]
    daemon.ctl("drain", "app/b1", check=0)
    assert [served_by(daemon, c)[0] for c in cookies] == ["app-0", "app-1", "app-2"]
    assert {daemon.ask().get("X-App") for _ in range(30)} == {"app-0", "app-2"}


def test_maintenance_moves_and_return_does_not_move_back(weir, app, tmp_path):
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path))
    cookie = pinned_to(daemon, 0)
    daemon.ctl("maintenance", "app/b0", check=0)
    where, moved = served_by(daemon, cookie)
    assert where == "app-1" and moved
    assert counter(daemon, "pins_moved") == 1
    daemon.ctl("enable", "app/b0", check=0)
    assert served_by(daemon, moved) == ("app-1", None)
    assert served_by(daemon, cookie) == ("app-0", None), "the old cookie is good again"


def test_strict_answers_503(weir, app, tmp_path):
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path, mode="strict"))
    cookie = pinned_to(daemon, 0)
    daemon.ctl("maintenance", "app/b0", check=0)
    response = daemon.ask(headers=[("Cookie", cookie)])
    assert response.status == 503 and b"pinned" in response.body
    assert response.get("Retry-After")
    assert daemon.ask().status == 200


def test_wait_waits_for_the_backend(weir, app, tmp_path):
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path, mode="wait", wait="10s"))
    cookie = pinned_to(daemon, 0)
    daemon.ctl("maintenance", "app/b0", check=0)
    got = []
    thread = threading.Thread(target=lambda: got.append(served_by(daemon, cookie)))
    thread.start()
    wait_for(lambda: daemon.pools()[0]["queued"] == 1)
    assert daemon.ask().status == 200, "others do not wait"
    daemon.ctl("enable", "app/b0", check=0)
    thread.join(20)
    assert got == [("app-0", None)]


def test_who_waits_for_one_backend_holds_up_nobody(weir, app, tmp_path):
    """A place in the queue is all that is his, not the slots that are free."""
    apps = app(2)
    daemon = weir(named(apps), pool={**pool_of(tmp_path, mode="wait", wait="20s"),
                                     "limits": {"requests": 2}, "queue": {"length": 1}})
    cookie = pinned_to(daemon, 0)
    daemon.ctl("maintenance", "app/b0", check=0)
    patient = daemon.connect()
    patient.send(f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
    wait_for(lambda: daemon.pools()[0]["queued"] == 1)
    assert [daemon.ask().status for _ in range(10)] == [200] * 10
    daemon.ctl("enable", "app/b0", check=0)
    assert patient.response().get("X-App") == "app-0"


def test_wait_moves_the_client_when_it_is_over(weir, app, tmp_path):
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path, mode="wait", wait="50ms"))
    cookie = pinned_to(daemon, 0)
    daemon.ctl("maintenance", "app/b0", check=0)
    where, moved = served_by(daemon, cookie)
    assert where == "app-1" and moved


def test_a_dead_backend_is_left_at_once(weir, app, tmp_path):
    apps = [app(1), app(1)]
    daemon = weir([apps[0].addresses[0], apps[1].addresses[0]], pool=pool_of(tmp_path))
    by_app = {}
    for _ in range(50):
        response = daemon.ask()
        by_app[response.get("X-App")] = cookie_of(response)
    assert len(by_app) == 2, by_app
    apps[0].stop(signal.SIGKILL)
    for _ in range(5):
        for cookie in by_app.values():
            assert served_by(daemon, cookie)[0] == "app1-0"


def test_a_busy_backend_is_waited_for_and_then_another_serves_once(weir, app, tmp_path):
    apps = app(2, "service=0ms")
    daemon = weir(named(apps), pool={**pool_of(tmp_path), "limits": {"requests": 1},
                                     "queue": {"timeout": "100ms"}})
    cookie = pinned_to(daemon, 0)
    apps.set(0, hang=1)
    holder = threading.Thread(target=lambda: served_by(daemon, cookie))
    holder.start()
    wait_for(lambda: apps.stats(0)["in_progress"] == 1)
    assert served_by(daemon, cookie) == ("app-1", None), "its pin stays"
    apps.go()
    holder.join()


def test_learned_pins(weir, scripted, tmp_path):
    """Each backend gives out sessions of its own and must get them back."""
    def session_server(letter):
        given = []

        def handler(peer):
            while request := peer.request():
                cookies = [v for k, v in request.headers if k.lower() == "cookie"]
                sid = next((c.partition("SID=")[2] for c in cookies if "SID=" in c), "")
                extra = []
                if not sid:
                    given.append(f"{letter}{len(given)}")
                    extra = [("Set-Cookie", f"SID={given[-1]}; Path=/")]
                peer.respond(headers=extra, body=f"{letter} {sid}".encode())
        return scripted(handler)
    servers = [session_server(letter) for letter in "xyz"]
    daemon = weir([s.address for s in servers], pool={"sticky": {"learn": "SID"}})
    sessions = [cookie_of(daemon.ask(), "SID") for _ in range(30)]
    assert len({s[4] for s in sessions}) == 3
    for _ in range(3):
        for session in sessions:
            response = daemon.ask(headers=[("Cookie", f"a=b; {session}")])
            sid = session[4:]
            assert response.body.decode() == f"{sid[0]} {sid}", session
            assert cookie_of(response) is None
    daemon.reload(daemon.conf)
    for session in sessions:
        response = daemon.ask(headers=[("Cookie", session)])
        assert response.body.decode()[0] == session[4], "pins outlive a reload"
    unknown = daemon.ask(headers=[("Cookie", "SID=never-seen")])
    assert unknown.status == 200


def test_key_file_mistakes_are_reported(weir, tmp_path):
    import subprocess
    from backends import binary
    key = tmp_path / "k"
    conf = tmp_path / "c.yaml"
    conf.write_text(f"listeners: [{{bind: 127.0.0.1:{free_port()}}}]\n"
                    "pools: {app: {backends: [127.0.0.1:1], sticky: {key_file: k}}}\n")

    def test():
        done = subprocess.run([binary("weir"), "-t", "-c", str(conf)], capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stderr
    assert "No such file" in test()[1]
    for text, complaint in (("short\n", "needs 16"), ("", "no secret"), ("# x\n\n", "no secret"),
                            ("x" * 20 + "\n" + "y" * 20 + "\n" + "z" * 20, "more than 2"),
                            ("x" * 5000, "at most")):
        key.write_text(text)
        code, said = test()
        assert code == 1 and complaint in said and "c.yaml:2:" in said, said
    key.write_text("x" * 20)
    assert test() == (0, "")


def test_drain_waits_for_learned_sessions_and_no_longer_than_told(weir, scripted):
    def handler(peer):
        while request := peer.request():
            new = not request.get("Cookie")
            peer.respond(headers=[("Set-Cookie", "SID=one")] if new else [])
    server = scripted(handler)
    daemon = weir([{"address": server.address, "name": "b0"}],
                  pool={"sticky": {"learn": "SID", "ttl": "3s"}})
    daemon.ask()
    daemon.ctl("drain", "app/b0", check=0)
    assert daemon.ask().status == 503
    assert daemon.ask(headers=[("Cookie", "SID=one")]).status == 200
    assert daemon.backends()["b0"]["sessions"]["n"] == 1
    daemon.ctl("drain", "app/b0", "--wait=300ms", check=0)
    assert daemon.backends()["b0"]["sessions"]["over"] is False, "it did not wait for the end"
    daemon.ctl("drain", "app/b0", "--wait", check=0)
    sessions = daemon.backends()["b0"]["sessions"]
    assert sessions["n"] == 0 and sessions["over"]
    assert daemon.ask(headers=[("Cookie", "SID=one")]).status == 503


def test_drain_waits_until_cookies_have_expired(weir, app, tmp_path):
    """A draining backend renews no cookie, so the last of its clients goes when that is too old."""
    apps = app(2)
    daemon = weir(named(apps), pool=pool_of(tmp_path, ttl="2s"))
    cookie = pinned_to(daemon, 0)
    seen, stop = [], threading.Event()

    def visit():
        client = daemon.connect()
        while not stop.is_set():
            response = client.ask(headers=[("Cookie", cookie)])
            seen.append((response.status, response.get("X-App")))
            stop.wait(0.02)
    daemon.ctl("drain", "app/b0", check=0)
    thread = threading.Thread(target=visit)
    thread.start()
    daemon.ctl("drain", "app/b0", "--wait", check=0)
    stop.set()
    thread.join()
    assert daemon.backends()["b0"]["sessions"]["over"]
    assert seen[0] == (200, "app-0") and seen[-1] == (200, "app-1"), seen
    assert {status for status, _ in seen} == {200}


def test_drain_fails_when_its_time_is_over_and_requests_are_not(weir, app):
    apps = app(1, "hang=1")
    daemon = weir(named(apps))
    client = daemon.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: apps.stats(0)["in_progress"] == 1)
    done = daemon.ctl("drain", "app/b0", "--wait=50ms", check=1)
    assert "1 in flight after 50ms" in done.stderr
    daemon.ctl("drain", "app/b0", "--wait=10", check=2)
    apps.go()
    assert client.response().status == 200
    daemon.ctl("drain", "app/b0", "--wait=20s", check=0)


def test_the_cookie_is_secure_behind_a_gateway_that_is_trusted(weir, app, tmp_path):
    """What the client speaks counts, as far as whoever says so is believed."""
    for trusted in (["127.0.0.0/8"], ["10.0.0.0/8"]):
        daemon = weir(named(app(1)), pool=pool_of(tmp_path),
                      listener={"trusted_proxies": trusted})
        for field, said, tls in (("X-Forwarded-Proto", "https", True),
                                 ("X-Forwarded-Proto", "http", False),
                                 ("Forwarded", "for=192.0.2.7;proto=https", True),
                                 ("X-Forwarded-Scheme", "https", True),
                                 ("X-Forwarded-Ssl", "on", True), ("X-Forwarded-Ssl", "off", False)):
            value = daemon.ask(headers=[(field, said)]).get("Set-Cookie")
            secure = tls and trusted[0].startswith("127.")
            assert ("; Secure" in value) == secure, (trusted, field, said, value)
