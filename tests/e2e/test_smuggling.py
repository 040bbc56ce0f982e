# SPDX-License-Identifier: MIT
"""
Requests that two readers may take for two things, sent through weir to real servers.

Between weir and the server a tap writes down both directions.  Of each case either nothing gets
there, or the requests that a strict reader finds in weir's bytes are those of the table, and the
server has given as many answers: nothing is left over that it could take for another request.
A plain request after it, over the same connections, is answered as itself.
"""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from backends import Process, build_dir, can_connect, free_port
from wire import Closed, Peer, Truncated, WireError, relay, wait_for

REFUSED = []


def post(*fields, body=b"", target="/a"):
    return b"\r\n".join([b"POST %s HTTP/1.1" % target.encode(), b"Host: a.test", *fields, b"", body])


def get(target="/a", *fields, version=b"1.1"):
    return b"\r\n".join([b"GET %s HTTP/%s" % (target.encode(), version), *(fields or [b"Host: a.test"]),
                         b"", b""])


INNER = get("/evil")
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = [("POST", "/a", 0)]
FIVE = [("POST", "/a", 5)]

# name: bytes, what the server is to see (method, target, length of the body)
CASES = {
    # two lengths
    "CL and TE": (post(b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n" + INNER), REFUSED),
    "TE and CL": (post(CHUNKED, b"Content-Length: 6", body=b"0\r\n\r\nX"), REFUSED),
    "two CL": (post(b"Content-Length: 0", b"Content-Length: 30", body=INNER), REFUSED),
    "CL list": (post(b"Content-Length: 0, 30", body=INNER), REFUSED),
    "plus CL": (post(b"Content-Length: +5", body=b"hello"), REFUSED),
    "minus CL": (post(b"Content-Length: -5", body=b"hello"), REFUSED),
    "hex CL": (post(b"Content-Length: 0x5", body=b"hello"), REFUSED),
    "empty CL": (post(b"Content-Length:", body=INNER), REFUSED),
    "huge CL": (post(b"Content-Length: 18446744073709551621", body=b"hello"), REFUSED),
    "CL with a tab": (post(b"Content-Length:\t5\t", body=b"hello"), FIVE),
    "CL with zeroes": (post(b"Content-Length: 0005", body=b"hello"), FIVE),
    "CL before a space": (post(b"Content-Length : 5", body=b"hello"), REFUSED),
    "CL of GET": (get("/a", b"Host: a.test", b"Content-Length: %d" % len(INNER)) + INNER,
                  [("GET", "/a", len(INNER))]),
    # transfer codings
    "TE twice": (post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), REFUSED),
    "TE chunked, identity": (post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), REFUSED),
    "TE identity": (post(b"Transfer-Encoding: identity", body=INNER), REFUSED),
    "TE xchunked": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), REFUSED),
    "TE in quotes": (post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), REFUSED),
    "TE with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), REFUSED),
    "TE before a space": (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), REFUSED),
    "TE folded": (post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), REFUSED),
    "TE behind a line feed": (post(b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n"), REFUSED),
    "TE behind a return": (post(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n"), REFUSED),
    "TE with an underscore": (post(b"Content-Length: 5", b"Transfer_Encoding: chunked", body=b"hello"),
                              FIVE),
    "TE of HTTP/1.0": (get("/a", b"Host: a.test", CHUNKED, version=b"1.0") + b"0\r\n\r\n", REFUSED),
    "TE in capitals": (post(b"TRANSFER-ENCODING: Chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), FIVE),
    # chunks
    "chunk extension": (post(CHUNKED, body=b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), FIVE),
    "chunk extension of a line feed": (post(CHUNKED, body=b"5;a\nb\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "chunk of a line feed": (post(CHUNKED, body=b"5\nhello\n0\n\n"), REFUSED),
    "chunk 0x5": (post(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "chunk +5": (post(CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "chunk beyond 64 bits": (post(CHUNKED, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "chunk too long": (post(CHUNKED, body=b"5\r\nhelloX\r\n0\r\n\r\n"), REFUSED),
    "chunk with a space": (post(CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "last chunk 000": (post(CHUNKED, body=b"5\r\nhello\r\n000\r\n\r\n"), FIVE),
    "trailer of framing": (post(CHUNKED, body=b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"), None),
    # lines
    "line feeds": (b"GET /a HTTP/1.1\nHost: a.test\n\n", REFUSED),
    "folded": (get("/a", b"Host: a.test", b"X: y\r\n z"), REFUSED),
    "no colon": (get("/a", b"Host: a.test", b"nonsense"), REFUSED),
    "no name": (get("/a", b"Host: a.test", b": x"), REFUSED),
    "NUL": (get("/a", b"Host: a.test", b"X: a\0b"), REFUSED),
    "a space first": (b"GET /a HTTP/1.1\r\n Host: a.test\r\n\r\n", REFUSED),
    "two spaces": (b"GET  /a HTTP/1.1\r\nHost: a.test\r\n\r\n", REFUSED),
    "tab for a space": (b"GET\t/a HTTP/1.1\r\nHost: a.test\r\n\r\n", REFUSED),
    "HTTP/1.1 and more": (b"GET /a HTTP/1.1 x\r\nHost: a.test\r\n\r\n", REFUSED),
    "HTTP/2.0": (b"GET /a HTTP/2.0\r\nHost: a.test\r\n\r\n", REFUSED),
    "HTTP/0.9": (b"GET /a\r\n\r\n", REFUSED),
    "space in the target": (b"GET /a /evil HTTP/1.1\r\nHost: a.test\r\n\r\n", REFUSED),
    # who is asked
    "no host": (get("/a", b"X: y"), REFUSED),
    "two hosts": (get("/a", b"Host: a.test", b"Host: b.test"), REFUSED),
    "host with a path": (get("/a", b"Host: a.test/x"), REFUSED),
    "absolute form": (get("http://b.test/a", b"Host: b.test"), [("GET", "/a", 0)]),
    "absolute form, another host": (get("http://b.test/a", b"Host: a.test"), None),
    "user in the target": (get("http://u@b.test/a", b"Host: b.test"), REFUSED),
    # several
    "pipelined": (get("/a") + get("/b"), [("GET", "/a", 0), ("GET", "/b", 0)]),
    "behind a body": (post(b"Content-Length: 5", body=b"hello") + get("/b"), FIVE + [("GET", "/b", 0)]),
    "behind chunks": (post(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n") + get("/b"),
                      FIVE + [("GET", "/b", 0)]),
    "empty lines between": (get("/a") + b"\r\n" + get("/b"), [("GET", "/a", 0), ("GET", "/b", 0)]),
    "half of another": (get("/a") + b"GET /evil HTTP/1.1\r\nX: ", [("GET", "/a", 0)]),
    # the connection's own
    "Connection names CL": (post(b"Content-Length: 5", b"Connection: content-length", body=b"hello"), FIVE),
    "Upgrade to h2c": (get("/a", b"Host: a.test", b"Connection: Upgrade, HTTP2-Settings",
                           b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"), [("GET", "/a", 0)]),
    "Expect of something": (post(b"Content-Length: 0", b"Expect: magic"), REFUSED),
}


# ---- servers ----

def go_build(source):
    """The program; what the compiler made before is kept beside weir's own build."""
    program = source.removesuffix(".go")
    kept = str(build_dir() / "go")
    subprocess.run(["go", "build", "-o", program, source], check=True,
                   env={**os.environ, "GOCACHE": kept, "GOPATH": kept + "/path", "GO111MODULE": "on",
                        "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"})
    return program


APPS = {
    "node": ("app.js", """
        require('http').createServer((q, r) => {
            let n = 0
            q.on('data', d => { n += d.length })
            q.on('end', () => r.end(`${q.method} ${q.url} ${n}\\n`))
        }).listen(+process.argv[2], '127.0.0.1')
        """, lambda f, port: ["node", f, str(port)]),
    "go": ("app.go", """package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%s %s %d\\n", r.Method, r.RequestURI, n)
		})))
}
""", lambda f, port: [go_build(f), str(port)]),
    "gunicorn": ("wsgi.py", """
def app(env, start):
    n = len(env["wsgi.input"].read())
    text = f'{env["REQUEST_METHOD"]} {env["RAW_URI"]} {n}\\n'.encode()
    start("200 OK", [("Content-Length", str(len(text)))])
    return [text]
""", lambda f, port: ["gunicorn", "--chdir", os.path.dirname(f), "-b", f"127.0.0.1:{port}", "-k",
                      "gthread", "--threads", "4", "--keep-alive", "30", "--worker-tmp-dir",
                      "/dev/shm", "wsgi:app"]),
    "uvicorn": ("asgi.py", """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    n, more = 0, True
    while more:
        event = await receive()
        n, more = n + len(event.get("body", b"")), event.get("more_body", False)
    text = f'{scope["method"]} {scope["path"]} {n}\\n'.encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(text)).encode())]})
    await send({"type": "http.response.body", "body": text})
""", lambda f, port: ["/usr/bin/uvicorn", "--app-dir", os.path.dirname(f), "--port", str(port),
                      "--timeout-keep-alive", "30", "--log-level", "warning", "asgi:app"]),
    "php": ("app.php", """<?php
$n = strlen(file_get_contents('php://input'));
echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REQUEST_URI'], ' ', $n, "\\n";
""", lambda f, port: ["php", "-S", f"127.0.0.1:{port}", f]),
    "puma": ("puma.ru", """
run lambda { |env|
  n = env['rack.input'].read.bytesize
  [200, {}, ["#{env['REQUEST_METHOD']} #{env['PATH_INFO']} #{n}\\n"]]
}
""", lambda f, port: ["puma", "-b", f"tcp://127.0.0.1:{port}", "-t", "2:4", f]),
    "webrick": ("app.rb", """
require 'webrick'
server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: ARGV[0].to_i, AccessLog: [],
                                 Logger: WEBrick::Log.new(File::NULL))
class All < WEBrick::HTTPServlet::AbstractServlet
  def service(req, res)
    body = %w[POST PUT].include?(req.request_method) ? req.body.to_s : ''
    res.body = "#{req.request_method} #{req.path} #{body.bytesize}\\n"
  end
end
server.mount '/', All
server.start
""", lambda f, port: ["ruby", f, str(port)]),
    "nginx": ("nginx.conf", """
daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
    fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{ listen 127.0.0.1:{port}; root {dir}/www; }}
}}
""", lambda f, port: ["/usr/sbin/nginx", "-c", f, "-e", os.path.dirname(f) + "/error.log"]),
    "apache": ("apache.conf", """
ServerRoot {dir}
ServerName localhost
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
PidFile {dir}/pid
ErrorLog {dir}/error.log
Listen 127.0.0.1:{port}
DocumentRoot {dir}/www
KeepAliveTimeout 30
""", lambda f, port: ["/usr/sbin/apache2", "-f", f, "-DFOREGROUND"]),
    "lighttpd": ("lighttpd.conf", """
server.document-root = "{dir}/www"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-idle = 30
""", lambda f, port: ["/usr/sbin/lighttpd", "-D", "-f", f]),
}


class Server(Process):
    def __init__(self, kind, folder):
        self.port = free_port()
        name, text, command = APPS[kind]
        www = Path(folder) / "www"
        www.mkdir()
        for each in ("a", "b", "sentinel"):
            (www / each).write_text(f"GET /{each} 0\n")
        if name.endswith(".conf"):
            text = text.format(dir=folder, port=self.port,
                               user="user root;" if os.geteuid() == 0 else "")
        file = Path(folder) / name
        file.write_text(text)
        super().__init__(command(str(file), self.port), folder, kind)
        self.wait_ready(lambda: can_connect(self.port))


class Recorded:
    """Bytes, to be read as from a socket."""

    def __init__(self, data):
        self.data = data

    def recv(self, n):
        piece, self.data = self.data[:n], self.data[n:]
        return piece

    def settimeout(self, _):
        pass


class Tap:
    """Passes connections on to a server, and writes down what each direction said."""

    def __init__(self, port):
        self.to = port
        self.sent, self.answers = [], []  # of connection i
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            i = len(self.sent)
            self.sent.append(b"")
            self.answers.append(b"")
            for source, sink, log in ((near, far, self.sent), (far, near, self.answers)):
                threading.Thread(target=self.copy, args=(source, sink, log, i), daemon=True).start()

    @staticmethod
    def copy(source, sink, log, i):
        def keep(data):
            log[i] += data
        relay(source, sink, keep)

    def requests(self):
        """What a strict reader finds, of all connections; nothing may be left over.  A server may have
        answered before the end of a request came by here: that is waited for."""
        def whole():
            with contextlib.suppress(Truncated):
                return [self.read_requests()]
        return wait_for(whole, 5, "whole requests")[0]

    def read_requests(self):
        found = []
        for data in self.sent:
            peer = Peer(Recorded(data), self)
            while msg := peer.request():
                found.append((msg.method, msg.target, msg.size))
            assert not peer.buf, peer.buf
        return found

    def count_bytes(self, n):
        pass

    def count_request(self, msg):
        pass

    def n_answers(self):
        return sum(len(re.findall(rb"HTTP/1\.[01] [2-5]\d\d ", data)) for data in self.answers)

    def forget(self):
        self.sent[:] = [b""] * len(self.sent)
        self.answers[:] = [b""] * len(self.answers)


@pytest.fixture(params=APPS)
def through(request, weir):
    """A daemon before a server, and the tap between them."""
    folder = tempfile.mkdtemp(prefix="weir-smuggling-")
    os.chmod(folder, 0o755)
    server = Server(request.param, folder)
    tap = Tap(server.port)
    daemon = weir([tap.address], workers=1, pool={"retry": "off", "outlier": "off"},
                  listener={"timeouts": {"half_closed": "20s"}})
    yield daemon, tap, request.param
    server.stop()
    tap.listener.close()
    shutil.rmtree(folder, ignore_errors=True)


def final_statuses(client):
    """Of all answers that come until weir closes, or a question of ours is answered."""
    found = []
    try:
        while True:
            msg = client.response()
            found.append(msg)
            if "sentinel" in msg.body.decode("latin-1"):
                return found
    except (Closed, WireError, OSError):
        return found


def send_case(daemon, data, ends):
    with daemon.connect() as client:
        client.send(data)
        if ends:  # the rest of what it is about must not come
            client.end_direction()
        return final_statuses(client)


def test_what_arrives_is_what_weir_understood(through):
    daemon, tap, kind = through
    wrong = []
    for name, (data, wanted) in CASES.items():
        tap.forget()
        answers = send_case(daemon, data, True)
        statuses = [msg.status for msg in answers]
        if wanted == REFUSED:
            if tap.requests() or not statuses or not 400 <= statuses[0] <= 505:
                wrong.append((name, statuses, tap.sent))
        else:
            seen = tap.requests()
            if wanted is not None and seen != wanted:
                wrong.append((name, statuses, seen))
            try:
                wait_for(lambda: tap.n_answers() == len(seen), 5, "as many answers")
            except AssertionError:
                wrong.append((name, statuses, seen, tap.answers))
        tap.forget()
        after = daemon.ask(target="/sentinel")
        if after.status == 502 and b"the connection before it answered" in after.body:
            # the server ended a kept connection just then; nothing is sent twice here
            after = daemon.ask(target="/sentinel")
        if after.status != 200 or after.body != b"GET /sentinel 0\n":
            wrong.append((name, "the next one", after))
    assert not wrong, (kind, wrong)
