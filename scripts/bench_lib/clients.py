# SPDX-License-Identifier: MIT
"""The load: wrk, h2load, weir-load, a client that makes TLS handshakes, and one that is idle.

Each returns the same: requests that were answered, bad ones, and latencies where it knows them.
"""
import gzip
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from . import handshakes as handshake_client
from . import procs, tunnels
from .procs import Failure, pin, program

HANDSHAKERS = 4

# wrk reports through its script; the routes' requests are spread by a prime step.
LUA = '''
local conf = {method = "%(method)s", body = %(body)s, close = %(close)s, gzip = %(gzip)s,
              routes = %(routes)d}
local path, step = "%(path)s", 0
wrk.method, wrk.body = conf.method, conf.body
if conf.close then wrk.headers["Connection"] = "close" end
if conf.gzip then wrk.headers["Accept-Encoding"] = "gzip" end
if conf.routes > 0 then
  request = function()
    step = (step + 7919) %% conf.routes
    return wrk.format(nil, string.format(path, step))
  end
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %%d, "us": %%d, "bytes": %%d, "bad": %%d, "p50": %%d, "p99": %%d}\\n',
    summary.requests, summary.duration, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
'''


def run(argv, core, seconds):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False,
                              timeout=seconds + 60, preexec_fn=pin(core))
    except subprocess.TimeoutExpired as stuck:
        raise Failure(f'{argv[0]} did not end') from stuck


def size_on_wire(row, port):
    """Bytes of the body of an answer that is right."""
    if row['does'] != 'gzip':
        return row['size']
    asked = urllib.request.Request(f'http://127.0.0.1:{port}{row["path"]}',
                                   headers={'Accept-Encoding': 'gzip'})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        body = answer.read()
        if answer.headers['Content-Encoding'] != 'gzip':
            raise Failure('it does not compress')
    if gzip.decompress(body).decode() != procs.json_text(row['size']):
        raise Failure('what it compresses is not what the backend sent')
    return len(body)


def wrk(row, port, seconds, core):
    """Closed loop over HTTP/1.1; wrk counts whole seconds."""
    size = size_on_wire(row, port)
    script = LUA % dict(method='POST' if row['post'] else 'GET', path=row['path'],
                        routes=row['routes'], close='true' if row['close'] else 'false',
                        gzip='true' if row['does'] == 'gzip' else 'false',
                        body=f'string.rep("x", {row["post"]})' if row['post'] else 'nil')
    with tempfile.NamedTemporaryFile('w', suffix='.lua') as file:
        file.write(script)
        file.flush()
        url = f'http{"s" if row["tls"] else ""}://127.0.0.1:{port}{"/" if row["routes"] else row["path"]}'
        said = run(['wrk', '-t1', f'-c{row["conns"]}', f'-d{max(1, round(seconds))}s', '--timeout',
                    '10s', '-s', file.name, url], core, seconds)
    found = re.search(r'^RESULT (.*)$', said.stdout, re.M)
    if not found:
        raise Failure(f'wrk failed: {said.stderr.strip()}')
    r = json.loads(found[1])
    short = r['bytes'] < r['requests'] * size
    return dict(n=r['requests'], bad=r['bad'] + (r['requests'] if short else 0), span=r['us'] / 1e6,
                p50_us=r['p50'], p99_us=r['p99'], left=size / row['size'])


def h2load(row, port, seconds, core):
    """Closed loop over HTTP/2 and TLS: connections x streams."""
    said = run(['h2load', '-t1', f'-c{row["conns"]}', f'-m{row["streams"]}',
                f'-D{max(1, round(seconds))}', f'https://127.0.0.1:{port}{row["path"]}'],
               core, seconds)
    done = re.search(r'^finished in ([\d.]+)(m?s),', said.stdout, re.M)
    counts = re.search(r'^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored', said.stdout, re.M)
    codes = re.search(r'^status codes: (\d+) 2xx', said.stdout, re.M)
    if not done or not counts or not codes:
        raise Failure(f'h2load failed: {(said.stderr or said.stdout)[-300:].strip()}')
    good, failed, errored = map(int, counts.groups())
    other = max(0, good - int(codes[1]))
    return dict(n=good, bad=failed + errored + other,
                span=float(done[1]) * (0.001 if done[2] == 'ms' else 1))


def open_loop(row, port, seconds, core, seed=1):
    """Poisson arrivals at a fixed rate; latency counts from when a request was due."""
    argv = [program('weir-load'), '--target', f'127.0.0.1:{port}', '--rate', str(row['rate']),
            '--seconds', f'{round(seconds * 1000)}ms', '--path', row['path'], '--connections',
            str(row['conns']), '--seed', str(seed)]
    said = run(argv, core, seconds)
    if said.returncode:
        raise Failure(f'weir-load failed: {said.stderr.strip()}')
    r = json.loads(said.stdout)
    return dict(n=r['ok'], bad=r['errors'] + r['skipped'], span=seconds, p50_us=r['p50_us'],
                p99_us=r['p99_us'], p999_us=r['p999_us'])


def handshakes(row, port, seconds, core):
    """A TLS connection per request, with a full handshake or the ticket of the one before."""
    argv = [sys.executable, handshake_client.__file__, str(port), str(seconds),
            'resumed' if row['resume'] else 'full', row['path']]
    children = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=pin(core))
                for _ in range(HANDSHAKERS)]
    rows = []
    for child in children:
        try:
            rows.append(json.loads(child.communicate(timeout=seconds + 60)[0]))
        except (subprocess.TimeoutExpired, ValueError):
            child.kill()
            child.communicate()
    if len(rows) < len(children):
        raise Failure('the handshake client failed')
    return dict(n=sum(r['n'] for r in rows), bad=sum(r['bad'] for r in rows), span=seconds)


def tunnel(row, port, seconds, core):
    """Messages that go to and fro through tunnels, one at a time in each."""
    said = run([sys.executable, tunnels.__file__, 'load', str(port), str(seconds), str(row['size'])],
               core, seconds)
    if said.returncode:
        raise Failure(f'tunnels: {said.stderr.strip()}')
    return json.loads(said.stdout) | dict(bad=0)


# What keeps a proxy busy while others want little of it: a load, and what its row differs in.
BULK = {
    'downloads': (wrk, dict(path='/bytes/1048576', size=1048576, conns=8, tls=False)),
    'tls downloads': (wrk, dict(path='/bytes/1048576', size=1048576, conns=8, tls=True)),
    'h2 downloads': (h2load, dict(path='/bytes/1048576', size=1048576, conns=4, streams=2, tls=True)),
    'uploads': (wrk, dict(post=1048576, conns=8, tls=False)),
    'handshakes': (handshakes, dict(tls=True)),
}


def beside(row, port, seconds, core):
    """Small requests in an open loop over plain HTTP, beside bulk, on the port above with TLS."""
    load, changed = BULK[row['beside']]
    bulk, failed = row | changed, []

    def run_bulk():
        try:
            bulk['seen'] = load(bulk, port + (1 if bulk['tls'] else 0), seconds + 2, core)
        except Failure as why:
            failed.append(why)

    thread = threading.Thread(target=run_bulk)
    thread.start()
    time.sleep(1)
    try:
        seen = open_loop(row, port, seconds, core)
    finally:
        thread.join()
    if failed:
        raise failed[0]
    large = bulk['seen']
    return seen | dict(bad=seen['bad'] + large['bad'], large=large['n'] / large['span'])


def ask_socket(path, target):
    """The answer's bytes, from weir's status socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(path)
        s.sendall(f'GET {target} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n'.encode())
        answer = bytearray()
        while more := s.recv(1 << 20):
            answer += more
    if not answer.startswith(b'HTTP/1.1 200'):
        raise Failure(f'{target}: {bytes(answer[:100])}')
    return answer


class Idle:
    """Connections that have each made one request and then wait."""

    def __init__(self, port, tls):
        self.port, self.context, self.open = port, handshake_client.tls_context() if tls else None, []

    def grow(self, n):
        """To n connections; False when one was not answered."""
        while len(self.open) < n:
            s = socket.create_connection(('127.0.0.1', self.port), timeout=20)
            if self.context:
                s = self.context.wrap_socket(s, server_hostname='bench.test')
            self.open.append(s)
            s.sendall(b'GET /bytes/100 HTTP/1.1\r\nHost: bench.test\r\n\r\n')
            answer = s.recv(4096)
            while answer and not (b'\r\n\r\n' in answer
                                  and len(answer.split(b'\r\n\r\n', 1)[1]) >= 100):
                more = s.recv(4096)
                if not more:
                    return False
                answer += more
            if not answer.startswith(b'HTTP/1.1 200'):
                return False
        return True

    def close(self):
        for s in self.open:
            s.close()
        self.open = []
