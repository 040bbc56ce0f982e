# SPDX-License-Identifier: MIT
"""Small ordinary worlds whose truth is known, and what weir says of them; see scripts/worlds.

Each world is a real weir with an interval of 2 s before sample app servers that wait instead of
computing; what is said is read from the status socket at every look.  In every world weir may not say
`healthy` three looks in a row while p95 is above the objective.  What a busy machine adds to 10 ms is
measured beside the worlds, and taken into account.  The exit status is 1 if a row is wrong.
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from scale_out import BIN, Processes, Status, free_port, wait_until

INTERVAL_S = 2
FORBIDDEN_IN_A_ROW = 3


class Clock:
    """What this machine makes of 10 ms, meanwhile: a truth of its own."""

    def __enter__(self):
        self.took, self.stopping = [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        while not self.stopping.is_set():
            begin = time.monotonic()
            time.sleep(0.01)
            self.took.append(1000 * (time.monotonic() - begin))

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        self.p95 = sorted(self.took)[len(self.took) * 95 // 100]


class World:
    """Apps, weirs, loads; what each look said; the rows of the table."""

    def __init__(self, name):
        self.name, self.rows, self.looks = name, [], []
        self.processes = Processes()
        self.folder = tempfile.mkdtemp(prefix='weir-')
        self.n = 0

    def path(self, name):
        self.n += 1
        return os.path.join(self.folder, f'{self.n}-{name}')

    def apps(self, n, how, *options):
        argv = [os.path.join(BIN, 'weir-app'), '--instances', str(n), '--set', how, *options]
        child = self.processes.start(argv, self.path('app'))
        return [f'127.0.0.1:{port}' for port in json.loads(child.stdout.readline())['ports']]

    def weir(self, addresses, slo=None):
        """The port and the status of a node."""
        listen, path = free_port(), self.path('sock')
        pool = {'backends': [{'address': a, 'name': f'app{i + 1}'} for i, a in enumerate(addresses)]}
        if slo:
            pool['slo'] = {'p95': f'{slo}ms'}
        conf = {'workers': 2, 'status': {'socket': path}, 'insight': {'interval': f'{INTERVAL_S}s'},
                'listeners': [{'bind': f'127.0.0.1:{listen}'}], 'pools': {'app': pool}}
        file = self.path('yaml')
        with open(file, 'w', encoding='utf-8') as out:
            json.dump(conf, out)  # JSON is YAML
        self.processes.start([os.path.join(BIN, 'weir'), '-c', file], self.path('weir'))
        status = Status(path)
        wait_until(status.answers, 'weir')
        return listen, status

    def load(self, port, rate, seconds, target='/'):
        """Open loop, in the background."""
        return self.processes.start(
            [os.path.join(BIN, 'weir-load'), '--target', f'127.0.0.1:{port}', '--rate', str(rate),
             '--seconds', f'{seconds * 1000:.0f}ms', '--path', target, '--seed', str(self.n + 1)],
            self.path('load'))

    def look(self, status, seconds, until=None):
        """Every look of these seconds, or until one is `until`; those that there were."""
        end, seen = time.monotonic() + seconds, []
        while time.monotonic() < end:
            now = status.get('/v1/pools/app/scaling')
            if not seen or now['looked_at'] != seen[-1]['looked_at']:
                seen.append(now)
                if until and until(now):
                    break
            time.sleep(0.25)
        self.looks += seen
        return seen

    def row(self, truth, said, ok):
        self.rows.append({'world': self.name, 'truth': truth, 'said': str(said), 'ok': bool(ok)})

    def row_of_health(self):
        """In a row healthy, and above the objective all the same."""
        longest = run = 0
        for look in self.looks:
            slo, now = look['evidence']['slo_p95_us'], look['evidence']['now']
            above = slo and now and now['p95_us'] and now['p95_us'] > slo
            run = run + 1 if above and look['verdict'] == 'healthy' else 0
            longest = max(longest, run)
        self.row(f'healthy above the objective: under {FORBIDDEN_IN_A_ROW} looks', longest,
                 longest < FORBIDDEN_IN_A_ROW)

    def close(self):
        self.processes.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def verdicts(looks):
    """In their order, without repetitions."""
    said = [look['verdict'] for look in looks]
    return ' '.join(v for i, v in enumerate(said) if i == 0 or v != said[i - 1])


def growth(looks):
    """The middle of them: a machine that stands still for a moment is none of weir's."""
    return statistics.median(look['evidence']['growth'] or 0 for look in looks)


def says(looks, text):
    return any(text in look['sentence'] for look in looks)


# ---- clients that are slow themselves ----

class SlowClients:
    """Closed-loop clients that read, or send, `mbytes` at `rate` bytes a second."""

    def __init__(self, port, n, sends, mbytes=2, rate=1 << 20):
        self.port, self.bytes, self.rate, self.sends = port, mbytes << 20, rate, sends
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(n)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run(self):
        while not self.stopping.is_set():
            with contextlib.suppress(OSError), socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                s.settimeout(10)
                s.connect(('127.0.0.1', self.port))
                self.send(s) if self.sends else self.read(s)

    def send(self, s):
        part = b'x' * 65536
        s.sendall(f'POST / HTTP/1.1\r\nHost: w\r\nContent-Length: {self.bytes}\r\n\r\n'.encode())
        for _ in range(self.bytes // len(part)):
            s.sendall(part)
            if self.stopping.wait(len(part) / self.rate):
                return
        s.recv(65536)

    def read(self, s):
        s.sendall(f'GET /bytes/{self.bytes} HTTP/1.1\r\nHost: w\r\n\r\n'.encode())
        left = self.bytes
        while left > 0 and (got := len(s.recv(65536))) and not self.stopping.wait(got / self.rate):
            left -= got


def slow_clients(world, sends):
    """Quick requests beside slow ones: load does not slow anything."""
    port, status = world.weir(world.apps(2, 'service=10ms,dist=exp'), slo=100)
    world.load(port, 60, 60)
    world.look(status, 20)
    with SlowClients(port, 20, sends):
        looks = world.look(status, 38)
    world.row('slow clients: growth at most 1.3', f'{growth(looks):.2f}', growth(looks) <= 1.3)
    world.row('slow clients: no scalability', verdicts(looks), 'scalability' not in verdicts(looks))


def slow_downloads(world):
    slow_clients(world, False)


def slow_uploads(world):
    slow_clients(world, True)


# ---- what one is alone ----

def alone_at(world, truth, n, how, *options):
    """A lock of 10 ms at 30, 60 and 90 % of what it takes."""
    port, status = world.weir(world.apps(n, how, *options), slo=500)
    world.load(port, '30,60,90', 20)
    with Clock() as clock:
        looks = world.look(status, 62)
    alone = looks[-1]['evidence']['alone']
    said = alone['p95_us'] / 1000 if alone and alone['n'] >= 200 else 0
    world.row(f'{truth}: alone p95 at most 11 ms',
              f'{said:.1f} ms; this machine makes {clock.p95:.1f} ms of 10' if said else 'not known',
              0 < said <= 1.1 * clock.p95)


def lock_in_one(world):
    alone_at(world, 'one worker of 10 ms', 1, 'service=10ms,workers=1')


def lock_behind_two(world):
    alone_at(world, 'a lock of 10 ms behind two', 2, 'service=0', '--shared', 'workers=1,service=10ms')


def two_nodes(world):
    """Each sends 43 % of what the two backends take: one more would help."""
    addresses = world.apps(2, 'service=50ms,dist=exp,workers=2')
    nodes = [world.weir(addresses, slo=100) for _ in range(2)]
    for port, _ in nodes:
        world.load(port, '14,35', 35)
    looks = world.look(nodes[0][1], 72)
    world.row('two nodes, 87 % together: never "more backends will not help"', verdicts(looks),
              not says(looks, 'will not help'))


# ---- how many workers ----

def workers_row(world, truth, status, seconds):
    model = world.look(status, seconds)[-1]['model']
    if model['refusal'] or model['kind'] != 'workers':
        said, ok = model['refusal'] or f'model {model["kind"]}', True
        if not model['refusal'] and model['capacity'] and not model['capacity_at_least']:
            said, ok = f'{said}, capacity {model["capacity"]:.0f}', abs(model['capacity'] - 200) <= 20
    else:
        low, high, capacity = model['workers_low'], model['workers_high'], model['capacity']
        bound = model['workers_at_least'] or model['capacity_at_least']
        said = f'{low} to {high} workers, capacity {"at least " if bound else ""}{capacity:.0f}/s'
        ok = low <= 4 and (bound or high >= 4) and (capacity <= 220 if bound else abs(capacity - 200) <= 20)
    world.row(f'{truth}: 4 workers, 200/s, or refused', said, ok)


def workers_open(world):
    port, status = world.weir(world.apps(1, 'service=20ms,dist=exp,workers=4'))
    world.load(port, '30,60,90,120,150,180', 10)
    workers_row(world, 'open loop', status, 61)


def closed(world, truth, steps):
    port, status = world.weir(world.apps(1, 'service=20ms,dist=exp,workers=4'))
    for argv in steps:
        world.processes.start([*argv, f'http://127.0.0.1:{port}/'], world.path('closed')).wait()
    workers_row(world, truth, status, 3)


def workers_closed(world):
    closed(world, 'closed loop of 32', [['wrk', '-t1', '-c32', '-d30s']])


def workers_steps(world):
    closed(world, 'closed loops of 1, 2, 4, 8, 32',
           [['wrk', '-t1', f'-c{n}', '-d10s'] for n in (1, 2, 4, 8, 32)])


def workers_h2(world):
    closed(world, 'HTTP/2, 32 streams', [['h2load', '-p', 'h2c', '-c1', '-m32', '-D30']])


# ---- changes ----

def one_added(world):
    """What weir advises heals."""
    addresses = world.apps(2, 'service=10ms,workers=1')
    port, status = world.weir(addresses[:1], slo=40)
    world.load(port, 20, 40)
    world.look(status, 40)
    world.load(port, 90, 150)
    world.look(status, 60)  # forecasts are of the last minute's load
    before = world.look(status, 20, lambda look: look['verdict'] == 'scalability')
    world.row('one worker at 90 %: scalability', verdicts(before), before[-1]['verdict'] == 'scalability')
    status.ask('POST', '/v1/pools/app/backends', {'address': addresses[1], 'name': 'app2'})
    begin = time.monotonic()
    after = world.look(status, 20, lambda look: look['verdict'] == 'healthy')
    world.row('one added: healthy within 20 s', f'{verdicts(after)}, {time.monotonic() - begin:.0f} s',
              after[-1]['verdict'] == 'healthy')
    after += world.look(status, 40, lambda look: look['scores']['of'] > 0)
    world.row('one added: never skewed', verdicts(after), 'skewed' not in verdicts(after))
    scores = after[-1]['scores']
    world.row('one added: a score', scores['sentence'], scores['of'] > 0)


def mixed(world):
    """Later a third of the requests are of another kind."""
    port, status = world.weir(world.apps(2, 'service=5ms,dist=exp'), slo=100)
    world.load(port, 60, 70)
    world.look(status, 25)
    world.load(port, 30, 40, '/report?service=150ms')
    looks = world.look(status, 40)
    world.row('reports come: "the kind of requests changed"', looks[-1]['sentence'],
              says(looks, 'kind of requests changed'))
    world.row('reports come: no scalability', verdicts(looks), 'scalability' not in verdicts(looks))


def late_load(world):
    """Quicker code, and then more than it can take."""
    port, status = world.weir(world.apps(1, 'service=30ms,workers=2'), slo=50)
    world.load(port, 20, 20)
    world.look(status, 20)
    host, _, app = status.get('/v1/pools/app')['backends'][0]['address'].rpartition(':')
    with socket.create_connection((host, int(app))) as s:
        s.sendall(b'GET /_set?service=10ms HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n')
        s.recv(65536)
    world.load(port, '40,120,192', 15)
    world.look(status, 46)


WORLDS = {f.__name__: f for f in (
    slow_downloads, slow_uploads, lock_in_one, lock_behind_two, two_nodes, workers_open, workers_closed,
    workers_steps, workers_h2, one_added, mixed, late_load)}


# ---- the command ----

def run(name):
    world = World(name)
    try:
        WORLDS[name](world)
        world.row_of_health()
    finally:
        world.close()
    return world


def print_rows(rows):
    for row in rows:
        print(f'{row["world"]:<15}  {row["truth"]:<58}  {"ok   " if row["ok"] else "WRONG"}  {row["said"]}', flush=True)


def main():
    parser = argparse.ArgumentParser(prog='scripts/worlds', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('worlds', nargs='*', metavar='WORLD', help=f'which ones [all]: {", ".join(WORLDS)}')
    parser.add_argument('--at-once', type=int, default=4, help='so many worlds beside each other [4]')
    parser.add_argument('--looks', metavar='FILE', help='writes every look there, as JSON')
    options = parser.parse_args()
    if unknown := set(options.worlds) - set(WORLDS):
        parser.error(f'no such world: {", ".join(sorted(unknown))}')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f'{"WORLD":<15}  {"TRUTH":<58}  {"":<5}  SAID')
    rows, looks = [], {}
    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, w) for w in options.worlds or WORLDS]):
            world = done.result()
            print_rows(world.rows)
            rows += world.rows
            looks[world.name] = world.looks
    if options.looks:
        with open(options.looks, 'w', encoding='utf-8') as out:
            json.dump(looks, out)
    wrong = sum(not row['ok'] for row in rows)
    print(f'{len(rows) - wrong} of {len(rows)} as they should be')
    sys.exit(wrong > 0)


if __name__ == '__main__':
    main()
