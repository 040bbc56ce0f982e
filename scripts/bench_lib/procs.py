# SPDX-License-Identifier: MIT
"""Processes of a measurement: started here, watched through /proc, stopped by their own pid."""
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from . import tunnels

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.path.abspath(os.environ.get('WEIR_BUILD', os.path.join(ROOT, 'build', 'release'))),
                   'bin')
TICK = os.sysconf('SC_CLK_TCK')
START_SECONDS = 20


class Failure(Exception):
    """One program could not be started or measured; the others go on."""


def program(name):
    """A binary: $WEIR, $NGINX, $HAPROXY, $NGHTTPX, else this build's or the system's."""
    own = os.path.join(BIN, name)
    path = os.environ.get(name.upper()) or (own if os.path.exists(own) else None)
    path = path or shutil.which(name) or shutil.which(name, path='/usr/sbin:/sbin')
    if not path:
        raise Failure(f'no program {name}')
    return path


def version(name):
    argv = [program(name), '--version' if name == 'nghttpx' else '-v']
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    number = re.search(r'\d+\.\d+[\w.+~-]*', said.stdout + said.stderr)
    return number[0] if number else 'unknown'


def free_port():
    """One whose successor is free, too."""
    while True:
        with socket.socket() as s, socket.socket() as above:
            s.bind(('127.0.0.1', 0))
            try:
                above.bind(('127.0.0.1', s.getsockname()[1] + 1))
            except (OSError, OverflowError):
                continue
            return s.getsockname()[1]


def cores():
    """(core of client and app servers, core of the proxy); on a single core nothing is pinned"""
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 else (None, None)


def pin(core):
    return (lambda: os.sched_setaffinity(0, {core})) if core is not None else None


def allow_files():
    """As many descriptors as this user may have; how many that is."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


def tree(pid):
    children = {}
    for entry in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{entry}/stat', encoding='utf-8') as stat:
                parent = int(stat.read().rpartition(')')[2].split()[1])
            children.setdefault(parent, []).append(int(entry))
        except OSError:
            continue
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_ns(pids):
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f'/proc/{pid}/task'):
                with open(f'/proc/{pid}/task/{task}/schedstat', encoding='utf-8') as stat:
                    total += int(stat.read().split()[0])
        except OSError:
            continue
    return total


def main_thread_ns(pid):
    with open(f'/proc/{pid}/task/{pid}/schedstat', encoding='utf-8') as stat:
        return int(stat.read().split()[0])


def rss_bytes(pids):
    total = 0
    for pid in pids:
        try:
            with open(f'/proc/{pid}/status', encoding='utf-8') as status:
                total += int(re.search(r'VmRSS:\s+(\d+)', status.read())[1]) * 1024
        except (OSError, TypeError):
            continue
    return total


def busy_seconds():
    """Of all cores since boot."""
    with open('/proc/stat', encoding='utf-8') as stat:
        field = [int(x) for x in stat.readline().split()[1:]]
    return (sum(field[:3]) + sum(field[5:8])) / TICK


def own_seconds():
    """CPU time of this process and of the children that it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def stop(process):
    if process.poll() is not None:
        return
    pids = tree(process.pid)
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:  # a worker that outlived its master
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def make_certificate(folder):
    """ECDSA P-256, self-signed; haproxy wants key and certificate in one file."""
    paths = {kind: os.path.join(folder, f'site.{kind}') for kind in ('key', 'pem', 'both')}
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                    '-nodes', '-keyout', paths['key'], '-out', paths['pem'], '-days', '30', '-subj',
                    '/CN=bench.test'], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with open(paths['both'], 'w', encoding='utf-8') as both:
        for kind in ('pem', 'key'):
            with open(paths[kind], encoding='utf-8') as part:
                both.write(part.read())
    return paths


class Apps:
    """weir-app: n sample app servers in one process, beside the client."""

    def __init__(self, n, extra=(), core=None):
        self.process = subprocess.Popen([program('weir-app'), '--instances', str(n), *extra],
                                        stdout=subprocess.PIPE, text=True, preexec_fn=pin(core))
        line = self.process.stdout.readline()
        if not line:
            stop(self.process)
            raise Failure('weir-app did not start')
        self.ports = json.loads(line)['ports']

    def stop(self):
        stop(self.process)
        self.process.stdout.close()


class Echo:
    """A backend for tunnels, in the place of Apps."""

    def __init__(self, core=None):
        self.process = subprocess.Popen([sys.executable, tunnels.__file__, 'echo'],
                                        stdout=subprocess.PIPE, text=True, preexec_fn=pin(core))
        self.ports = json.loads(self.process.stdout.readline())['ports']

    stop = Apps.stop


def json_text(size):
    """Rows as an API lists them: names repeat, numbers and ids do not."""
    dice, text = random.Random(7), '['
    names = ('pencil', 'notebook', 'lamp', 'chair', 'kettle')
    row = ('{{"id": {}, "name": "{}", "price": {}, "sku": "{:08x}", "currency": "EUR",'
           ' "available": true}},\n')
    while len(text) < size:
        text += row.format(len(text), dice.choice(names), dice.randrange(10000), dice.getrandbits(32))
    return text[:text.rindex(',\n', 0, size)].ljust(size - 1) + ']'


class Proxy:
    """One contender: argv and files come from peers.py; its log is kept when it fails."""

    def __init__(self, name, make, setup, core=None):
        self.name = name
        self.scratch = tempfile.mkdtemp(prefix='weir-bench-')
        self.port, self.process = free_port(), None
        try:
            argv, files = make(setup, self.port, self.scratch)
            for file, text in files.items():
                with open(os.path.join(self.scratch, file), 'w', encoding='utf-8') as out:
                    out.write(text)
            self.log = os.path.join(self.scratch, 'output.log')
            with open(self.log, 'w', encoding='utf-8') as log:
                self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.scratch,
                                                stdin=subprocess.DEVNULL, preexec_fn=pin(core))
            self.wait_until_open()
        except BaseException:
            self.stop()
            raise

    def pids(self):
        """Now: workers come after the listening socket."""
        return tree(self.process.pid)

    def wait_until_open(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', self.port)) == 0:
                    return
            time.sleep(0.05)
        raise Failure(f'{self.name} did not start: {self.last_words()}')

    def last_words(self):
        with open(self.log, encoding='utf-8', errors='replace') as log:
            return ' '.join(log.read()[-500:].split())

    def stop(self):
        if self.process:
            stop(self.process)
        shutil.rmtree(self.scratch, ignore_errors=True)


def serve_json(size, port, scratch):
    text = (f'workers: 1\nstatus: {{socket: off}}\nlisteners:\n  - bind: 127.0.0.1:{port}\n'
            '    timeouts: {keepalive: 300s}\nroutes:\n'
            '  - respond: {file: all.json, content_type: application/json}\n')
    return ([program('weir'), '-c', f'{scratch}/weir.yaml'],
            {'weir.yaml': text, 'all.json': json_text(size)})


class Documents(Proxy):
    """A weir that answers by itself, with a document of JSON, in the place of Apps."""

    def __init__(self, size, core=None):
        super().__init__('documents', serve_json, size, core)
        self.ports = [self.port]


def serve_http2(size, port, scratch):
    text = f'''daemon off; master_process off; pid {scratch}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1000; }}
http {{ access_log off; server_tokens off; keepalive_requests 1000000000;
server {{ listen 127.0.0.1:{port} http2 backlog=4096; return 200 "{'x' * size}"; }} }}
'''
    argv = [program('nginx'), '-p', scratch, '-e', 'stderr', '-c', f'{scratch}/nginx.conf']
    return argv, {'nginx.conf': text}


class Http2(Proxy):
    """An nginx that answers by itself over HTTP/2 without TLS, in the place of Apps."""

    def __init__(self, size, core=None):
        super().__init__('http2', serve_http2, size, core)
        self.ports = [self.port]


def interrupted(*_):
    sys.exit(130)  # runs the finally blocks: nothing is left behind


def end_cleanly():
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)


def progress(text):
    """On a terminal: one line that is overwritten."""
    if sys.stderr.isatty():
        print(f'\r\x1b[K{text}', end='', file=sys.stderr, flush=True)
