# SPDX-License-Identifier: MIT
"""Does it scale?  Three worlds behind weir, with 1, 2, 4 and 8 backends each; see scripts/scale-out.

  stateless  every backend has four workers and shares nothing: it scales
  pinned     the app keeps sessions in memory, so clients are pinned, and some are busy: it skews
  shared     every request needs a lock that all backends share, kept in Redis: it does not scale

Load comes from weir-load (open loop: latency counts from the scheduled time), but every number in
the tables and plots, and every verdict and forecast, is read from weir's status socket.  For each
number of backends the load goes up to 0.9 of what they should take, then stays at 0.75 (where
percentiles are read and twice as many backends are forecast), then goes to 1.15 (what gets through is
the throughput).  Before that, the load of the step before is repeated with twice the backends: that is
what the forecast is scored against.

The app servers wait instead of computing, so two CPUs are enough.  Tables go to the terminal, plots
and all numbers to build/scale-out.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(os.path.abspath(os.environ.get('WEIR_BUILD', os.path.join(ROOT, 'build', 'release'))),
                   'bin')
OUT = os.path.join(ROOT, 'build', 'scale-out')
PHASES = ('queue', 'connect', 'wait', 'transfer', 'client', 'self')
WORKERS = 4
SERVICE_MS = 20
ONE = WORKERS * 1000 / SERVICE_MS  # requests per second that one backend can take
SHARED_MS = 4
PERMITS = 2  # of the lock: 500 requests per second in all
RAMP = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
REFERENCE, BEYOND = 0.75, 1.15
QUICK_RAMP = (0.2, 0.9)
QUICK_ALONE_S = 11  # the first of them: a verdict wants 200 requests that met nobody
QUICK_BEYOND_S = 20  # it waits 11 s whether slowness is a change, and for three looks
DRAIN_S = 5  # weir-load waits so long for what is not answered yet
WORLDS = {
    'stateless': 'nothing is shared: it scales',
    'pinned': 'sessions in the app\'s memory, clients pinned: it skews',
    'shared': 'a lock in Redis behind all backends: it does not scale',
}


# ---- processes ----

class Processes:
    def __init__(self):
        self.running = []

    def start(self, argv, log):
        with open(log, 'w', encoding='utf-8') as errors:
            child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.running.append(child)
        return child

    def stop(self):
        for child in reversed(self.running):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        self.running = []


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f'error: {what} did not start within {seconds} s')
        time.sleep(0.05)


class Status(http.client.HTTPConnection):
    """weir's status socket."""

    def __init__(self, path):
        super().__init__('weir')
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, path, data=None):
        self.close()  # a step takes longer than weir waits for the next request
        self.request(method, path, json.dumps(data) if data else None)
        response = self.getresponse()
        body = json.loads(response.read())
        if response.status >= 300:
            sys.exit(f'error: {method} {path}: {body}')
        return body

    def get(self, path):
        return self.ask('GET', path)

    def answers(self):
        try:
            return bool(self.get('/v1/status'))
        except OSError:
            self.close()
            return False


def start_apps(world, n, permits, folder, processes):
    """Ports of n app servers."""
    if world != 'shared':
        argv = [os.path.join(BIN, 'weir-app'), '--instances', str(n), '--set',
                f'service={SERVICE_MS}ms,dist=exp,workers={WORKERS}']
    else:
        port = free_port()
        redis = processes.start(['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '',
                                 '--appendonly', 'no', '--dir', folder, '--logfile',
                                 os.path.join(folder, 'redis.log')],
                                os.path.join(folder, 'redis.err'))
        wait_until(lambda: redis.poll() is None and can_connect(port), 'redis-server')
        argv = ['node', os.path.join(ROOT, 'tests', 'apps', 'redis_app.js'), '--redis', str(port),
                '--instances', str(n), '--workers', str(WORKERS), '--service',
                str(SERVICE_MS - SHARED_MS), '--shared', str(SHARED_MS), '--permits', str(permits)]
    child = processes.start(argv, os.path.join(folder, 'app.err'))
    line = child.stdout.readline()
    if not line:
        sys.exit(f'error: the app servers did not start, see {folder}/app.err')
    return json.loads(line)['ports']


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


def start_weir(world, port, folder, processes):
    listen = free_port()
    path = os.path.join(folder, 'weir.sock')
    pool = {'backends': [{'address': f'127.0.0.1:{port}', 'name': 'app1'}], 'slo': {'p95': '150ms'}}
    if world == 'pinned':
        pool['sticky'] = {'cookie': 'weir'}
    conf = {'workers': 2, 'status': {'socket': path}, 'insight': {'interval': '1s'},
            'listeners': [{'bind': f'127.0.0.1:{listen}'}], 'pools': {'app': pool}}
    file = os.path.join(folder, 'weir.yaml')
    with open(file, 'w', encoding='utf-8') as out:
        json.dump(conf, out)  # JSON is YAML
    processes.start([os.path.join(BIN, 'weir'), '-c', file], os.path.join(folder, 'weir.err'))
    status = Status(path)
    wait_until(status.answers, 'weir')
    return listen, status


# ---- measuring ----

def histogram(status, phase):
    rows = status.get(f'/v1/pools/app/histogram?phase={phase}&window=start')['buckets']
    return dict((lower, n) for lower, n in rows)


def quantile(buckets, q):
    rank, seen = q * sum(buckets.values()), 0
    for lower in sorted(buckets):
        seen += buckets[lower]
        if seen >= rank:
            return lower * (1 + 1 / 64) if lower >= 64 else lower
    return 0


class Progress:
    """A line on standard error that says how far it is: over and over on a terminal, else seldom."""

    STEP_S = 1.6  # a step takes so much longer than its load

    def __init__(self, options, worlds):
        ramp, counts = len(options.ramp), options.backends
        self.at_once = len(worlds) if options.quick else 1
        self.total = len(worlds) * sum(ramp + 2 + (n != counts[0]) for n in counts)
        loads = (len(counts) * (sum(options.ramp_s) + 2 * options.seconds + options.beyond_s + DRAIN_S)
                 + (len(counts) - 1) * 2 * options.seconds)
        self.done, self.left_s = 0, (len(worlds) * loads + self.total * self.STEP_S) / self.at_once
        self.lock = threading.Lock()
        self.terminal, self.said = sys.stderr.isatty(), set()

    def begin(self, world, backends, seconds):
        with self.lock:
            self.say(world, backends, seconds)

    def say(self, world, backends, seconds):
        self.done += 1
        text = (f'{world}, {backends} backend{"s" if backends > 1 else ""}: step {self.done} of {self.total}, '
                f'about {max(1, round(self.left_s))} s left')
        if self.terminal:
            print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)
        elif (world, backends) not in self.said:
            print(text, file=sys.stderr, flush=True)
        self.said.add((world, backends))
        self.left_s -= (seconds + self.STEP_S) / self.at_once

    def clear(self):
        if self.terminal:
            print('\r\033[K', end='', file=sys.stderr, flush=True)


class World:
    def __init__(self, name, options, progress):
        self.progress = progress
        self.name = name
        self.seconds = options.seconds
        self.steps = []
        self.counts = options.backends
        self.ramp, self.beyond_s = list(zip(options.ramp, options.ramp_s)), options.beyond_s
        self.permits = 1 if options.quick else PERMITS  # two backends must feel it
        self.quiet = options.quick  # several at once: who is done prints
        self.processes = Processes()

    def load(self, rate, seconds):
        """One step of load; what weir saw of it: the difference of two readings."""
        self.progress.begin(self.name, self.n, seconds)
        before = {p: histogram(self.status, p) for p in (*PHASES, 'total')}
        argv = [os.path.join(BIN, 'weir-load'), '--target', f'127.0.0.1:{self.listen}', '--rate',
                f'{rate:.1f}', '--seconds', f'{seconds * 1000:.0f}ms', '--seed', str(len(self.steps) + 1)]
        if self.name == 'pinned':
            argv += ['--sessions', '40']
        begin = time.monotonic()
        client = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        took = time.monotonic() - begin
        time.sleep(1.1)  # weir folds once a second, if it has the time
        self.wait_for_counts(sum(before['total'].values()) + client['ok'])
        step = {'offered': rate, 'backends': self.n, 'client': client, 'phases': {}}
        for p in (*PHASES, 'total'):
            now = histogram(self.status, p)
            part = {k: now[k] - before[p].get(k, 0) for k in now if now[k] > before[p].get(k, 0)}
            step['phases'][p] = {'n': sum(part.values()), 'p50_ms': quantile(part, 0.5) / 1e3,
                                 'p95_ms': quantile(part, 0.95) / 1e3,
                                 'p99_ms': quantile(part, 0.99) / 1e3}
        # what was answered after the last request was sent took its time, too
        step['throughput'] = step['phases']['total']['n'] / max(seconds, took)
        self.steps.append(step)
        return step

    def wait_for_counts(self, n):
        end = time.monotonic() + 20
        while sum(histogram(self.status, 'total').values()) < n and time.monotonic() < end:
            time.sleep(0.1)

    def grow(self, n):
        while self.n < n:
            self.n += 1
            self.status.ask('POST', '/v1/pools/app/backends',
                            {'address': f'127.0.0.1:{self.ports[self.n - 1]}', 'name': f'app{self.n}'})

    def measure(self, n):
        row = {'backends': n}
        last = self.rows[-1] if self.rows else None
        self.grow(n)
        if last:  # the same load as before: did the forecast come true?
            again = self.load(last['reference']['offered'], 2 * self.seconds)
            row['outcome'] = again['phases']['total']
        row['ramp'] = [self.load(share * n * ONE, seconds) for share, seconds in self.ramp]
        row['reference'] = self.load(REFERENCE * n * ONE, 2 * self.seconds)
        scaling = self.status.get('/v1/pools/app/scaling')
        row['forecast'] = next((f for f in scaling['forecast'] if f['backends'] == 2 * n), None)
        row['beyond'] = self.load(BEYOND * n * ONE, self.beyond_s)
        scaling = self.status.get('/v1/pools/app/scaling')
        row['verdict'], row['sentence'] = scaling['verdict'], scaling['sentence']
        row['evidence'] = scaling['evidence']
        row['model'], row['curve'] = scaling['model'], scaling['curve']
        self.rows.append(row)

    def run(self):
        self.rows = []
        folder = tempfile.mkdtemp(prefix='weir-')
        try:
            self.ports = start_apps(self.name, max(self.counts), self.permits, folder, self.processes)
            self.listen, self.status = start_weir(self.name, self.ports[0], folder, self.processes)
            self.n = 1
            for n in self.counts:
                self.measure(n)
                if not self.quiet:
                    self.progress.clear()
                    print_row(self.rows, len(self.rows) - 1)
        finally:
            self.processes.stop()
            shutil.rmtree(folder, ignore_errors=True)
        return self.rows


# ---- tables ----

HEAD = (f'{"BACKENDS":>8}  {"THROUGHPUT":>10}  {"P50":>8}  {"P99":>8}  {"FORECAST P99":>15}  '
        f'{"OUTCOME":>8}  VERDICT')


def forecast_text(forecast):
    if not forecast or forecast['refusal']:
        return 'refused'
    if forecast['saturated']:
        return 'overload'
    return f'{forecast["p99_us"]["low"] / 1e3:.0f} - {forecast["p99_us"]["high"] / 1e3:.0f} ms'


def print_row(rows, i):
    row, total = rows[i], rows[i]['reference']['phases']['total']
    came = forecast_text(rows[i - 1]['forecast']) if i else ''
    outcome = f'{row["outcome"]["p99_ms"]:.0f} ms' if i else ''
    print(f'{row["backends"]:>8}  {row["beyond"]["throughput"]:>8.0f}/s  {total["p50_ms"]:>5.0f} ms  '
          f'{total["p99_ms"]:>5.0f} ms  {came:>15}  {outcome:>8}  {row["verdict"]}', flush=True)


def print_sentences(rows):
    for row in rows:
        print(f'  {row["backends"]}: {row["sentence"]}')


def not_judged(row):
    """Why weir says less of it than the load is for; None where it says all."""
    if row['verdict'] == 'not_enough_data':
        return 'learning'
    if row['backends'] > 1 and row['verdict'] == 'scalability' and not row['evidence']['shared']['known']:
        return 'whether they share a bottleneck is not known'
    return None


def print_not_judged(worlds, options):
    """A run may be too short, or the machine too busy: then it says what would be long enough."""
    missing = {name: [(row['backends'], why) for row in rows if (why := not_judged(row))]
               for name, rows in worlds.items()}
    missing = {name: rows for name, rows in missing.items() if rows}
    if not missing:
        return
    print('\nnot judged in this time:')
    for name, rows in missing.items():
        print(f'  {name}: ' + '; '.join(f'{n} backend{"s" if n > 1 else ""}: {why}' for n, why in rows))
    longer = plan(argparse.Namespace(quick=False, seconds=None if options.quick else 2 * options.seconds))
    argv = '' if options.quick else f' --seconds {longer.seconds:g}'
    argv += ''.join(f' --world {name}' for name in missing) if len(missing) < len(WORLDS) else ''
    minutes = Progress(longer, list(missing)).left_s / 60
    print(f'scripts/scale-out{argv} has the time for it: about {max(1, round(minutes))} minutes')


# ---- plots ----

COLOURS = ('#1f6feb', '#d9480f', '#2b8a3e', '#862e9c', '#c2255c', '#5c7080')


def round_up(x):
    """To a number whose quarters are round."""
    power = 10 ** max(len(str(int(x))) - 1, 0)
    return next(k * power for k in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8, 10) if k * power >= x)


class Plot:
    """One panel: axes from 0, lines, bars, text."""

    W, H, LEFT, TOP, RIGHT, BOTTOM = 400, 280, 58, 34, 14, 44

    def __init__(self, title, x_label, y_label, x_max, y_max):
        self.x_max, self.y_max = x_max or 1, round_up(y_max or 1)
        self.parts = []
        self.text(self.W / 2, 18, title, size=14, anchor='middle', weight='bold')
        self.text(self.W / 2, self.H - 6, x_label, anchor='middle')
        self.parts.append(f'<text x="12" y="{self.H / 2}" transform="rotate(-90 12 {self.H / 2})" '
                          f'text-anchor="middle" class="t">{y_label}</text>')
        self.n_labels = 0

    def x(self, value):
        return self.LEFT + value / self.x_max * (self.W - self.LEFT - self.RIGHT)

    def y(self, value):
        return self.H - self.BOTTOM - min(value / self.y_max, 1) * (self.H - self.TOP - self.BOTTOM)

    def text(self, x, y, text, size=11, anchor='start', colour=None, weight='normal'):
        fill = f' style="fill:{colour}"' if colour else ''
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                          f'font-weight="{weight}" class="t"{fill}>{text}</text>')

    def axes(self, x_ticks=None):
        for i in range(5):
            value = self.y_max * i / 4
            self.parts.append(f'<line x1="{self.LEFT}" x2="{self.W - self.RIGHT}" y1="{self.y(value):.1f}" '
                              f'y2="{self.y(value):.1f}" class="g"/>')
            self.text(self.LEFT - 5, self.y(value) + 4, f'{value:.0f}', anchor='end')
        if x_ticks is None:
            x_ticks = [self.x_max * i / 4 for i in range(5)]
        for value in x_ticks:
            self.text(self.x(value), self.H - self.BOTTOM + 15, f'{value:.0f}', anchor='middle')

    def line(self, points, colour, dash='', dots=True):
        at = ' '.join(f'{self.x(x):.1f},{self.y(y):.1f}' for x, y in points)
        style = f'stroke-dasharray="{dash}"' if dash else ''
        self.parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="2" {style}/>')
        for x, y in points if dots else ():
            self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3" fill="{colour}"/>')

    def bar(self, x, width, low, high, colour):
        top, bottom = self.y(high), self.y(low)
        self.parts.append(f'<rect x="{self.x(x) - width / 2:.1f}" y="{top:.1f}" width="{width}" '
                          f'height="{max(bottom - top, 0):.1f}" fill="{colour}"/>')

    def label(self, text, colour):
        y = self.TOP + 12 + 15 * self.n_labels
        self.parts.append(f'<rect x="{self.LEFT + 8}" y="{y - 8}" width="12" height="4" fill="{colour}"/>')
        self.text(self.LEFT + 25, y - 2, text, size=10)
        self.n_labels += 1


STYLE = ('<style>.t{fill:#24292f;font-family:sans-serif}.g{stroke:#d0d7de;stroke-width:1}'
         'svg{background:#fff}@media(prefers-color-scheme:dark){.t{fill:#e6edf3}.g{stroke:#3d444d}'
         'svg{background:#0d1117}}</style>')


def write_svg(path, panels):
    width = Plot.W * len(panels)
    body = ''.join(f'<g transform="translate({i * Plot.W} 0)">{"".join(p.parts)}</g>'
                   for i, p in enumerate(panels))
    with open(path, 'w', encoding='utf-8') as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {Plot.H}" font-size="11">'
                  f'{STYLE}{body}</svg>\n')


def plot_latency(rows, title='p99 against load'):
    ceiling = 500
    plot = Plot(title, 'requests per second', 'p99, ms', rows[-1]['ramp'][-1]['offered'], ceiling)
    plot.axes()
    for row, colour in zip(rows, COLOURS):
        points = [(s['offered'], s['phases']['total']['p99_ms']) for s in row['ramp']]
        plot.line(points, colour)
        plot.label(f'{row["backends"]} backend' + 's' * (row['backends'] > 1), colour)
    return plot


def plot_throughput(rows, title='throughput against backends'):
    n_max = rows[-1]['backends']
    plot = Plot(title, 'backends', 'requests per second', n_max * 1.05, n_max * ONE * 1.15)
    plot.axes([row['backends'] for row in rows])
    plot.line([(0, 0), (n_max, n_max * rows[0]['beyond']['throughput'])], '#8c959f', '4 4', dots=False)
    plot.label('n times the first', '#8c959f')
    fitted = [(r['backends'], r['backends'] * r['model']['capacity']) for r in rows
              if r['model']['capacity'] is not None]
    if fitted:
        plot.line(fitted, COLOURS[1], '2 3')
        plot.label('capacity by the fitted curve', COLOURS[1])
    plot.line([(r['backends'], r['beyond']['throughput']) for r in rows], COLOURS[0])
    plot.label('measured', COLOURS[0])
    return plot


def plot_phases(rows):
    top = max(sum(r['reference']['phases'][p]['p99_ms'] for p in PHASES) for r in rows)
    plot = Plot('p99 by phase, at 0.75 of the load', 'backends', 'ms', len(rows) + 0.5, top * 1.3)
    plot.axes([])
    for i, row in enumerate(rows):
        low = 0
        for p, colour in zip(PHASES, COLOURS):
            high = low + row['reference']['phases'][p]['p99_ms']
            plot.bar(i + 1, 34, low, high, colour)
            low = high
        plot.text(plot.x(i + 1), Plot.H - Plot.BOTTOM + 15, row['backends'], anchor='middle')
    for p, colour in zip(PHASES, COLOURS):
        plot.label(p, colour)
    return plot


def plot_all(worlds, out):
    for name, rows in worlds.items():
        write_svg(os.path.join(out, f'{name}.svg'),
                  [plot_latency(rows), plot_throughput(rows), plot_phases(rows)])
    write_svg(os.path.join(out, 'overview.svg'),
              [plot_throughput(rows, f'{name}: {rows[-1]["verdict"]}') for name, rows in worlds.items()])


# ---- the command ----

def run_in_turn(options):
    worlds = {}
    progress = Progress(options, options.world or list(WORLDS))
    for name in options.world or WORLDS:
        print(f'\n{name}: {WORLDS[name]}\n{HEAD}', flush=True)
        worlds[name] = World(name, options, progress).run()
        print_sentences(worlds[name])
    return worlds


def run_together(options):
    names = options.world or list(WORLDS)
    progress = Progress(options, names)
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        runs = {name: pool.submit(World(name, options, progress).run) for name in names}
        worlds = {name: run.result() for name, run in runs.items()}
    progress.clear()
    for name, rows in worlds.items():
        print(f'\n{name}: {WORLDS[name]}\n{HEAD}')
        for i in range(len(rows)):
            print_row(rows, i)
        print_sentences(rows)
    return worlds


def plan(options):
    """How many backends, which loads, and how long each."""
    quick, given = options.quick, options.seconds
    options.backends = (1, 2) if quick else (1, 2, 4, 8)
    options.ramp = QUICK_RAMP if quick else RAMP
    options.seconds = given or (3 if quick else 5)
    options.ramp_s = [options.seconds] * len(options.ramp)
    options.beyond_s = 2 * options.seconds
    if quick and not given:
        options.ramp_s[0], options.beyond_s = QUICK_ALONE_S, QUICK_BEYOND_S
    return options


def main():
    parser = argparse.ArgumentParser(prog='scripts/scale-out', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='1 and 2 backends, few and short steps, all worlds at once: two minutes; says what it could not judge')
    parser.add_argument('--world', choices=list(WORLDS), action='append', help='only this one; may be repeated')
    parser.add_argument('--seconds', type=float, default=None, help='length of a step [5, quick: 3]')
    parser.add_argument('--out', default=OUT, help='where plots and numbers go [build/scale-out]')
    options = plan(parser.parse_args())
    os.makedirs(options.out, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    worlds = run_together(options) if options.quick else run_in_turn(options)
    with open(os.path.join(options.out, 'numbers.json'), 'w', encoding='utf-8') as out:
        json.dump(worlds, out, indent=1)
    plot_all(worlds, options.out)
    print_not_judged(worlds, options)
    print(f'\nplots and numbers: {options.out}')


if __name__ == '__main__':
    main()
