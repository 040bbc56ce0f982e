# SPDX-License-Identifier: MIT
"""The whole configurations of man/guide/from-nginx.md and from-haproxy.md: the real peer and weir
get the same requests, and their answers are compared.

  ```nginx NAME, ```haproxy NAME   what the peer runs
  ```yaml NAME                     the same for weir
"""
import os
import re
import shutil

import pytest

from backends import Process, can_connect, free_port
from test_guide import FENCE, ROOT
from wire import Client, Headers, wait_for

SECOND = {"site": [
    ("GET", "/a/b?c=d", {}), ("GET", "/x", {"Host": "www.example.com"}), ("GET", "/ping", {}),
    ("GET", "/api/things/1?x=y", {}), ("POST", "/up", {}, 1024), ("POST", "/up", {}, 1025),
    ("POST", "/api/up", {}, 5000)],
    "tenants": [
    ("GET", "/", {"Host": "acme.example.com"}), ("GET", "/a?b", {"Host": "shop.example.com"}),
    ("GET", "/", {"Host": "a.b.example.com"}), ("GET", "/", {"Host": "example.com"})],
    "paths": [
    ("GET", "/ping", {}), ("GET", "/admin/x", {}), ("GET", "/x", {"Host": "API.example.com"}),
    ("POST", "/x?y", {"Host": "api.example.com"}), ("GET", "/static/a/b.css?v=1", {"Cookie": "a=b"}),
    ("GET", "/else", {"Cookie": "a=b"})],
    "failover": [("GET", "/", {}), ("GET", "/a?b=c&d", {}), ("POST", "/p", {}, 10)]}
REQUESTS = {
    ("nginx", "redirects"): [
        ("GET", "/users/12/photos/x", {}), ("GET", "/users/x/y", {}), ("GET", "/a.php", {}),
        ("GET", "/b.ASP", {}), ("GET", "/admin/users", {}), ("GET", "/login", {}),
        ("GET", "/rest?of=it", {})],
    ("haproxy", "redirects"): [
        ("GET", "/a?b=c", {"Host": "www.example.com"}), ("GET", "/old", {}),
        ("GET", "/account/x", {}), ("GET", "/account/x", {"Cookie": "session=1"}),
        ("GET", "/else", {})],
    ("nginx", "canary"): [
        ("GET", "/a?b=c", {}), ("GET", "/", {"User-Agent": "SomeBot/1"}),
        ("GET", "/", {"Cookie": "a=b; beta=1"}), ("GET", "/", {"Cookie": "beta=2"})],
    ("haproxy", "canary"): [
        ("GET", "/", {}), ("GET", "/", {"User-Agent": "SomeBot/1"}),
        ("GET", "/", {"Cookie": "beta=1"}), ("GET", "/?version=2.10", {}),
        ("GET", "/?version=21", {})],
}
# what each adds by itself, and what differs from one exchange to the next
OWN = re.compile(r"^(x-forwarded-.*|x-request-id|via|connection|date|server|content-length|"
                 r"content-type|user-agent|accept.*|cookie|transfer-encoding)$")


def blocks():
    """{(peer, name): {"nginx": text, "yaml": text}}"""
    found = {}
    for peer in ("nginx", "haproxy"):
        text = (ROOT / f"man/guide/from-{peer}.md").read_text()
        for language, name, body in FENCE.findall(text):
            if name and name != "wrong":
                found.setdefault((peer, name), {})[language] = body
    return found


def shown(answer, ports):
    """What is compared of an answer."""
    body = answer.body.decode()
    told = {key: answer.get(key) for key in ("Location", "X-Frame-Options", "X-Tenant", "X-App")}
    if answer.status in (403, 413) or answer.status in range(300, 400):
        body = "" if "bots" not in body else body  # a page of its own
    elif answer.get("Content-Type", "").startswith("application/json"):
        heard = answer.json()
        fields = Headers(map(tuple, heard["headers"]))
        body = {"by": heard["instance"], "method": heard["method"], "target": heard["target"],
                "cookie": fields.get("Cookie"),
                "headers": sorted((name.lower(), value) for name, value in fields
                                  if value and not OWN.match(name.lower()))}
    for port in ports:
        told = {key: value and value.replace(f":{port}", "") for key, value in told.items()}
    return answer.status, told, body


def put_ports(text, ports):
    return re.sub(r":(8080|900\d)\b", lambda m: f":{ports[m[1]]}", text)


def start_peer(peer, text, folder, port):
    if peer == "nginx":
        user = "user root;" if os.geteuid() == 0 else ""
        conf = folder / "nginx.conf"
        conf.write_text(f"""daemon off; pid {folder}/pid; error_log {folder}/error.log;
            worker_processes 1; {user} events {{ worker_connections 256; }}
            http {{ access_log off; default_type text/plain; client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            {text} }}""")
        argv = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf), "-e",
                f"{folder}/error.log"]
    else:
        conf = folder / "haproxy.cfg"
        conf.write_text("defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n"
                        "    timeout server 30s\n" + text)
        argv = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(conf)]
    process = Process(argv, folder, peer)
    process.wait_ready(lambda: can_connect(port))
    return process


def ask_all(port, requests):
    answers = []
    for method, target, headers, *n in requests:
        fields = [(key, value) for key, value in headers.items() if key != "Host"]
        with Client(port) as client:
            answers.append(client.ask(method, target, fields, b"x" * (n[0] if n else 0),
                                      host=headers.get("Host", "shop.example.org")))
    return answers


BLOCKS = blocks()


def test_each_has_four():
    for peer in ("nginx", "haproxy"):
        names = [name for whose, name in BLOCKS if whose == peer]
        assert len(names) == 4 and all(set(BLOCKS[peer, name]) == {peer, "yaml"}
                                       for name in names), names


@pytest.mark.parametrize("peer,name", list(BLOCKS), ids=lambda value: value)
def test_answers_are_the_same(weir, app, tmp_path, peer, name):
    if not shutil.which(peer) and not os.path.exists(f"/usr/sbin/{peer}"):
        pytest.skip(f"no {peer} here")
    backend = app(instances=3, defaults="echo=1")
    apps = dict(zip(("9001", "9002", "9004"), backend.ports)) | {"9003": free_port()}
    theirs, ours = free_port(), free_port()
    requests = REQUESTS.get((peer, name)) or SECOND[name]
    text = BLOCKS[peer, name]
    process = start_peer(peer, put_ports(text[peer], {**apps, "8080": theirs}), tmp_path, theirs)
    try:
        socket = tmp_path / "weir-0.sock"
        conf = f"status: {{socket: {socket}}}\n" + put_ports(text["yaml"], {**apps, "8080": ours})
        weir(conf=conf, status_socket=socket)
        # the first check of a backend that is down takes its time
        wait_for(lambda: ask_all(theirs, requests[:1])[0].status < 500, 20, f"{peer} answers")
        wait_for(lambda: ask_all(ours, requests[:1])[0].status < 500, 20, "weir answers")
        for request, one, two in zip(requests, ask_all(theirs, requests), ask_all(ours, requests)):
            assert shown(two, (ours, theirs)) == shown(one, (ours, theirs)), request
    finally:
        process.stop()
