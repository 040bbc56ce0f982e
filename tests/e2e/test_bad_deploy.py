# SPDX-License-Identifier: MIT
"""scripts/chaos: one of four backends is deployed badly and answers at once; what clients get
of it, and how soon it is used again.  The same through nginx and HAProxy, where they are
installed, set up as well as they can be for it."""
import os
import shutil
import time

import pytest
from backends import Process, can_connect, free_port
from openloop import Load
from test_resilience import named, tell

DEPLOYS = {**{str(status): ({"status": status}, {"status": 200})
              for status in (400, 401, 403, 404, 410, 421, 429, 500, 502, 503)},
           "empty 200": ({"body": 0}, {"body": 6}), "reset": ({"reset": "before"}, {"reset": "no"})}
RATE, BAD_S, SETTLED_S, BACK_S = 400, 8, 5, 40

pytestmark = pytest.mark.slow


def nginx(folder, port, apps):
    """Statuses that may go elsewhere do; a server is left out for a second after a failure."""
    servers = " ".join(f"server {a} max_fails=1 fail_timeout=1s;" for a in apps.addresses)
    conf = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_processes 2; {user}
        events {{ worker_connections 4096; }}
        http {{ access_log off; proxy_temp_path {folder}/p; client_body_temp_path {folder}/b;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          upstream app {{ zone app 64k; least_conn; {servers} keepalive 64; }}
          server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app;
            proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504
              http_403 http_404 http_429; }} }} }}""")
    return [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf), "-e",
            f"{folder}/error.log"]


def haproxy(folder, port, apps):
    """Retries by status, errors in traffic mark down, and checks ask for the page itself."""
    servers = "\n".join(f"  server b{i} {a}" for i, a in enumerate(apps.addresses))
    conf = folder / "haproxy.cfg"
    conf.write_text(f"""
global
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 404 500 502 503 504
frontend f
  bind 127.0.0.1:{port}
  default_backend app
backend app
  balance leastconn
  option httpchk
  http-check send meth GET uri /
  http-check expect status 200
  http-check expect rstring .
  default-server check inter 500ms rise 1 fall 1 observe layer7 error-limit 5 on-error mark-down
{servers}
""")
    return [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(conf)]


@pytest.fixture(params=["weir auto", "weir least-request", "nginx", "haproxy"])
def balancer(request, weir, app, tmp_path):
    """(name, port, apps)"""
    apps = app(4, "service=20ms")
    if request.param.startswith("weir"):
        balance = request.param.split()[1]
        yield request.param, weir(named(apps), workers=2, pool={"balance": balance}).port, apps
        return
    make = {"nginx": nginx, "haproxy": haproxy}[request.param]
    port = free_port()
    argv = make(tmp_path, port, apps)
    if not os.path.exists(argv[0]):
        pytest.skip(f"{request.param} is not installed")
    process = Process(argv, tmp_path, request.param)
    process.wait_ready(lambda: can_connect(port))
    yield request.param, port, apps
    process.stop()


def back_after(load, since):
    """Seconds until it has half its share of the answers, by quarters of a second."""
    while time.monotonic() - since < BACK_S:
        window = time.monotonic() - 0.25
        time.sleep(0.05)
        rows = [row for row in load.rows[-RATE:] if row[0] + row[1] >= window]
        ours = sum(row[3] == "app-2" and row[2] == 200 for row in rows)
        if len(rows) >= 20 and ours * 8 >= len(rows):
            return time.monotonic() - since
    return None


@pytest.mark.parametrize("kind", DEPLOYS)
def test_bad_deploy(balancer, kind):
    name, port, apps = balancer
    bad, good = DEPLOYS[kind]
    with Load(port, RATE) as load:
        load.wait_for(RATE)
        apps.set(2, service=0, **bad)
        begin = time.monotonic()
        time.sleep(BAD_S)
        end = time.monotonic()
        apps.set(2, service="20ms", **good)
        back = back_after(load, end)
    rows = [(at + took, status, app) for at, took, status, app in load.rows if at >= begin]
    wrong = [at for at, status, app in rows if at < end and (status != 200 or app == "app-2")]
    late = sum(at >= begin + SETTLED_S for at in wrong)
    of = sum(begin + SETTLED_S <= at < end for at, _, _ in rows)
    tell(f"bad deploy, {kind}: {name}", len(rows), len(load.failed),
         f"wrong after {SETTLED_S} s: {late} of {of} ({100 * late / of:.1f} %); recovered: it has "
         f"half its share again, within {BACK_S} s", len(wrong), back or "never")
    assert not load.failed or not name.startswith("weir")
    if name.startswith("weir"):
        assert late <= 0.02 * of and back is not None, (late, of, back)
