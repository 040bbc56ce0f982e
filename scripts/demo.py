# SPDX-License-Identifier: MIT
"""Show weir in front of three kinds of app server; started by scripts/demo.

Starts two node servers, a gunicorn and weir's own sample app server (three instances), writes a
configuration, starts weir, sends it a bounded load and shows what weirctl says: top, tables, the
scaling verdict.  Then everything goes on running under a small load that goes up and down, until
Ctrl-C or for the time given with --for.  With --check it goes through draining, reloading and
stopping instead, and exits with 1 when anything is not as it must be.

Everything is on 127.0.0.1, on ports that were free; files and logs are in build/demo.
"""
import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
APPS = os.path.join(ROOT, 'tests', 'apps')
BIN = os.path.join(os.path.abspath(os.environ.get('WEIR_BUILD', os.path.join(ROOT, 'build', 'release'))),
                   'bin')
OUT = os.path.join(ROOT, 'build', 'demo')
WINDOW_STEP = 1.2  # weir moves its windows of rates and latencies once a second
SOCKET_PATH_MAX = 100  # the kernel's limit is 107
RAMP = (150, 400, 900)  # requests per second, so that requests are alone, and in company
RAMP_SECONDS = 3
JUDGED_WITHIN = 10  # seconds after the load
WAVES = {'/': (100, 300, 600), '/node/': (50, 150, 100), '/python/': (20, 40, 80)}
WAVE_SECONDS = 10

CONF = '''# written by scripts/demo
workers: 2
insight: {{interval: 1s}}  # a verdict within seconds; 10s is better for real traffic
status:
  socket: {socket}
  bind: 127.0.0.1:{status_port}
listeners:
  - name: plain
    bind: 127.0.0.1:{port}
  - name: tls
    bind: 127.0.0.1:{tls_port}
    tls: {{certificates: [{{cert: site.pem, key: site.key}}]}}
routes:
  - {{match: {{path: /node/}}, pool: node}}
  - {{match: {{path: /python/}}, pool: python}}
  - {{pool: app}}
pools:
  node:
    backends: [{node}]
  python:
    backends: [{python}]
  app:
    backends:
{app}
'''


class Failure(Exception):
    """Something is not as it must be; the text says what."""


def nearest(path):
    """As one would type it from here."""
    relative = os.path.relpath(path)
    return path if relative.startswith('..') else relative


# ---- processes ----

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Processes:
    """What this demo started, and only that, stopped in reverse order."""

    def __init__(self):
        self.running = []

    def start(self, name, argv, env=None):
        with open(os.path.join(OUT, f'{name}.log'), 'w', encoding='utf-8') as log:
            try:
                child = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                         env={**os.environ, **(env or {})},
                                         start_new_session=True)  # Ctrl-C is for the demo alone
            except OSError as error:
                raise Failure(f'{name} cannot be started: {error}') from error
        self.running.append((name, child))
        return child

    def stop(self):
        for _, child in reversed(self.running):
            if child.poll() is None:
                child.terminate()
        for _, child in reversed(self.running):
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.running = []

    def forget(self, children):
        """Those that ended by themselves."""
        self.running = [(name, child) for name, child in self.running if child not in children]


def log_of(name):
    return nearest(os.path.join(OUT, f'{name}.log'))


def wait_for(what, child, condition, seconds=15):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if child.poll() is not None:
            raise Failure(f'{what} ended with {child.returncode}, see {log_of(what)}')
        if time.monotonic() > end:
            raise Failure(f'{what} is not ready after {seconds} s, see {log_of(what)}')
        time.sleep(0.05)
    return value


def answers(path):
    """Whether weir behind this socket is ready."""
    try:
        connection = UnixHTTP(path)
        connection.request('GET', '/readyz')
        status = connection.getresponse().status
        connection.close()
        return status == 200
    except OSError:
        return False


def socket_in(folder):
    """Where the status socket can be, and a folder to be removed at the end, or None."""
    path = os.path.join(folder, 'weir.sock')
    if len(path) <= SOCKET_PATH_MAX:
        return path, None
    scratch = tempfile.mkdtemp(prefix='weir-demo-')
    return os.path.join(scratch, 'weir.sock'), scratch


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


def ports_in_log(name):
    """node_app.js and weir-app say in a JSON line which ports they have."""
    with open(os.path.join(OUT, f'{name}.log'), encoding='utf-8') as log:
        line = log.readline()
    return json.loads(line)['ports'] if line.endswith('\n') else None


# ---- app servers: each returns [(name, port)] ----

def start_node(processes, name):
    child = processes.start(name, ['node', os.path.join(APPS, 'node_app.js'), '--name', name])
    return [(name, wait_for(name, child, lambda: ports_in_log(name))[0])]


def start_gunicorn(processes, name):
    port = free_port()
    child = processes.start(
        name, ['/usr/bin/gunicorn', '--chdir', APPS, '--bind', f'127.0.0.1:{port}', '--workers',
               '2', '--worker-class', 'gthread', '--threads', '8', 'wsgi_app:app'],
        {'WSGI_APP_NAME': name})
    wait_for(name, child, lambda: is_open(port))
    return [(name, port)]


def start_sample(processes, name, n):
    child = processes.start(name, [os.path.join(BIN, 'weir-app'), '--instances', str(n), '--name',
                                   name, '--set', 'service=500us,dist=exp'])
    ports = wait_for(name, child, lambda: ports_in_log(name))
    return [(f'{name}-{i}', port) for i, port in enumerate(ports)]


# ---- weir ----

def make_certificate():
    """Self-signed, for localhost, beside the configuration."""
    made = subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
         '-days', '365', '-subj', '/CN=localhost', '-addext',
         'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', os.path.join(OUT, 'site.key'),
         '-out', os.path.join(OUT, 'site.pem')],
        capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Failure(f'openssl made no certificate: {made.stderr.strip()}')


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('weir', timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Weir:
    def __init__(self, processes, apps):
        self.apps = apps
        self.port = free_port()
        self.status_port = free_port()
        self.tls_port = free_port()
        make_certificate()
        self.conf = os.path.join(OUT, 'weir.yaml')
        self.socket, self.scratch = socket_in(OUT)
        self.write_conf(apps['app'][:2])
        self.child = processes.start('weir', [os.path.join(BIN, 'weir'), '-c', self.conf])
        wait_for('weir', self.child, lambda: answers(self.socket))

    def write_conf(self, app):
        """The sample app's pool has the backends given, the others all theirs."""
        def inline(rows):
            return ', '.join(f'{{address: 127.0.0.1:{port}, name: {name}}}' for name, port in rows)
        block = '\n'.join(f'      - {{address: 127.0.0.1:{port}, name: {name}}}'
                          for name, port in app)
        text = CONF.format(socket=self.socket, port=self.port,
                           status_port=self.status_port, tls_port=self.tls_port,
                           node=inline(self.apps['node']),
                           python=inline(self.apps['python']), app=block)
        with open(self.conf, 'w', encoding='utf-8') as out:
            out.write(text)

    def ctl(self, *args):
        return subprocess.run([os.path.join(BIN, 'weirctl'), '-s', self.socket, *args],
                              capture_output=True, text=True, timeout=20, check=False)

    def ctl_ok(self, *args):
        done = self.ctl(*args)
        if done.returncode != 0:
            raise Failure(f'weirctl {" ".join(args)}: exit {done.returncode}: {done.stderr}')
        return done.stdout

    def ask(self, path):
        return json.loads(self.ctl_ok('--json', *path))

    def backends(self):
        """{'pool/backend': row}"""
        return {f'{pool["name"]}/{row["name"]}': row
                for pool in self.ask(['pools'])['pools'] for row in pool['backends']}

    def requests(self):
        return {name: row['requests'] for name, row in self.backends().items()}

    def cleanup(self):
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


# ---- load ----

class Load:
    """h2load over HTTP/1.1: a fixed number of requests, so that counts must agree exactly."""

    def __init__(self, port, path, n, connections=32):
        self.n, self.path = n, path
        self.child = subprocess.Popen(
            ['h2load', '--h1', '-n', str(n), '-c', str(connections), '-T', '20', '-N', '20',
             f'http://127.0.0.1:{port}{path}'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self):
        """{'per_second', 'good', 'bad'}; good are the answers with 2xx"""
        try:
            said = self.child.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired as timeout:
            self.child.kill()
            raise Failure(f'{self.path}: the load did not end within 60 s') from timeout
        status = re.search(r'status codes: (\d+) 2xx', said)
        rate = re.search(r'([\d.]+) req/s', said)
        if not status or not rate:
            raise Failure(f'h2load said: {said.strip()[-500:]}')
        good = int(status[1])
        return dict(per_second=float(rate[1]), good=good, bad=self.n - good)


def open_loop(port, path, rate, seconds):
    """weir-load: requests come when they come, however slow the answers are."""
    return [os.path.join(BIN, 'weir-load'), '--target', f'127.0.0.1:{port}', '--path', path,
            '--rate', str(rate), '--seconds', f'{seconds}s']


class OpenLoad:
    """The same as Load, at a fixed rate and in the background."""

    def __init__(self, port, path, rate, seconds):
        self.rate, self.path = rate, path
        self.child = subprocess.Popen(open_loop(port, path, rate, seconds),
                                      stdout=subprocess.PIPE, text=True)

    def finish(self):
        try:
            r = json.loads(self.child.communicate(timeout=60)[0])
        except (subprocess.TimeoutExpired, ValueError) as failed:
            self.child.kill()
            raise Failure(f'{self.path}: the open-loop load failed') from failed
        return dict(per_second=self.rate, good=r['ok'], bad=r['errors'])


class Waves:
    """A small load on all pools that goes up and down for as long as somebody looks."""

    def __init__(self, weir, processes):
        self.weir, self.processes, self.turn, self.children = weir, processes, 0, []

    def go_on(self):
        if any(child.poll() is None for child in self.children):
            return
        self.processes.forget(self.children)
        self.children = [
            self.processes.start(f'load-{path.strip("/") or "app"}', open_loop(
                self.weir.port, path, rates[self.turn % len(rates)], WAVE_SECONDS))
            for path, rates in WAVES.items()]
        self.turn += 1


def said(path, result):
    print(f'  {path:9} {result["good"]:6} answers, {result["bad"]} failures,'
          f' {result["per_second"]:8.0f} requests/s')
    return result


def drive(weir, path, n):
    return said(path, Load(weir.port, path, n).finish())


# ---- weirctl top, in a terminal that nobody sits at ----

def tmux(path, *args):
    done = subprocess.run(['tmux', '-u', '-S', path, *args], capture_output=True, text=True,
                          timeout=20, check=False)
    if done.returncode != 0:
        raise Failure(f'tmux {args[0]}: {done.stderr.strip()}')
    return done.stdout


def top_screen(weir, seconds):
    """What weirctl top shows after so many seconds."""
    folder = tempfile.mkdtemp(prefix='weir-demo-')
    path = os.path.join(folder, 'tmux.sock')
    try:
        tmux(path, '-f', '/dev/null', 'new-session', '-d', '-x', '150', '-y', '14', 'env',
             'LC_ALL=C.UTF-8', 'TERM=screen', os.path.join(BIN, 'weirctl'), '-s', weir.socket, 'top')
        time.sleep(seconds)
        screen = tmux(path, 'capture-pane', '-p')
        tmux(path, 'kill-server')
        return screen
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- the demo ----

def heading(text):
    print(f'\n== {text}')


def shell(weir, command):
    """A weirctl command as the user would type it, and its real output."""
    print(f'\n$ weirctl {command}')
    print(weir.ctl_ok(*command.split()).rstrip('\n'))


def start_all(processes):
    heading('app servers')
    apps = {'node': start_node(processes, 'node-0') + start_node(processes, 'node-1'),
            'python': start_gunicorn(processes, 'python-0'),
            'app': start_sample(processes, 'app', 3)}
    for pool, rows in apps.items():
        print(f'  {pool:7} ' + ', '.join(f'{name} on port {port}' for name, port in rows))
    heading('weir')
    weir = Weir(processes, apps)
    print(f'  http://127.0.0.1:{weir.port}/  /node/ goes to node, /python/ to gunicorn, all else to'
          f' the sample app\n  https://127.0.0.1:{weir.tls_port}/  the same over TLS, with the'
          ' certificate build/demo/site.pem\n  configuration: build/demo/weir.yaml')
    return weir


def show(weir):
    heading('load')
    sent = [drive(weir, '/node/', 6000), drive(weir, '/python/', 2000), drive(weir, '/', 12000)]
    for rate in RAMP[:-1]:
        sent.append(said('/', OpenLoad(weir.port, '/', rate, RAMP_SECONDS).finish()))
    load = OpenLoad(weir.port, '/', RAMP[-1], RAMP_SECONDS + 1)
    screen = top_screen(weir, RAMP_SECONDS)
    sent.append(said('/', load.finish()))
    heading('weirctl top')
    print(screen.rstrip('\n'))
    time.sleep(WINDOW_STEP)
    heading('what weir saw')
    for command in ('status', 'pools', 'backends', 'scaling app', 'histogram app'):
        shell(weir, command)
    return sent, screen


def invite(weir):
    ctl = f'{nearest(os.path.join(BIN, "weirctl"))} -s {nearest(weir.socket)}'
    heading('try')
    print(f'  the dashboard: http://127.0.0.1:{weir.status_port}/')
    print(f'  {ctl} top')
    print(f'  {ctl} scaling')
    print(f'  {ctl} events -f')
    print(f'  curl -i http://127.0.0.1:{weir.port}/node/')
    site = nearest(os.path.join(OUT, 'site.pem'))
    print(f'  curl -i --cacert {site} https://127.0.0.1:{weir.tls_port}/node/')
    print(f'  {ctl} certificates')
    print(f'  {ctl} explain GET http://127.0.0.1:{weir.port}/python/')
    print(f'  {ctl} drain app/app-0')


def wait_for_the_user(weir, processes, seconds):
    print(f'\nrunning {f"for {seconds:g} s" if seconds else "until Ctrl-C"}, under a small load ...',
          flush=True)
    waves = Waves(weir, processes)
    end = time.monotonic() + seconds if seconds else None
    while end is None or time.monotonic() < end:
        if weir.child.poll() is not None:
            raise Failure(f'weir ended with {weir.child.returncode}, see {log_of("weir")}')
        waves.go_on()
        time.sleep(0.2)


def stop_weir(weir):
    """TERM drains; the exit status comes back."""
    weir.child.send_signal(signal.SIGTERM)
    try:
        return weir.child.wait(40)
    except subprocess.TimeoutExpired as timeout:
        raise Failure('weir did not stop within 40 s of TERM') from timeout


# ---- --check ----

class Checks:
    def __init__(self):
        self.failed = 0

    def that(self, claim, holds, detail=''):
        self.failed += not holds
        print(f'  {"ok    " if holds else "FAILED"} {claim}{f" ({detail})" if detail else ""}')

    def equal(self, claim, got, wanted):
        self.that(claim, got == wanted, f'{got}' if got == wanted else f'{got}, not {wanted}')


def check_answers(weir, checks):
    """Each kind answers with its own name.  Returns how many requests were sent."""
    cases = {'/node/': 'node-', '/python/': 'python-0', '/anything': 'app-'}
    for path, name in cases.items():
        connection = http.client.HTTPConnection('127.0.0.1', weir.port, timeout=10)
        connection.request('GET', path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        checks.that(f'GET {path} is answered by its kind of app server',
                    response.status == 200 and body.startswith(name), body.strip())
    context = ssl.create_default_context(cafile=os.path.join(OUT, 'site.pem'))
    connection = http.client.HTTPSConnection('127.0.0.1', weir.tls_port, timeout=10,
                                             context=context)
    connection.request('GET', '/node/')
    response = connection.getresponse()
    checks.that('the same over TLS, with its certificate verified',
                response.status == 200 and response.read().decode().startswith('node-'))
    connection.close()
    return len(cases) + 1


def app_count(port):
    """What an instance of the sample app says it served."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    connection.request('GET', '/_stats')
    count = json.loads(connection.getresponse().read())['requests']
    connection.close()
    return count


def check_counts(weir, checks, n_sent):
    checks.equal('weir counted every request of the clients',
                 weir.ask(['status'])['totals']['requests'], n_sent)
    seen = weir.requests()
    checks.equal('the backends\' counts add up to it', sum(seen.values()), n_sent)
    for name, port in weir.apps['app'][:2]:
        checks.equal(f'app/{name} itself counted what weir counted for it', app_count(port),
                     seen[f'app/{name}'])
    checks.that('every backend got a share', all(seen.values()),
                ', '.join(f'{name} {n}' for name, n in seen.items()))
    rows = weir.backends().values()
    checks.equal('errors and requests in flight',
                 [sum(r['errors'] for r in rows), sum(r['in_flight'] for r in rows)], [0, 0])


def check_views(weir, checks, screen):
    """What shows it: top, the verdict, the dashboard and the stream under it."""
    names = sorted(name for rows in weir.apps.values() for name, _ in rows[:2])
    checks.that('weirctl top shows every pool, backend and its p99',
                all(name in screen for name in names) and ' ms' in screen)
    end = time.monotonic() + JUDGED_WITHIN
    while (judged := weir.ask(['scaling', 'app']))['verdict'] == 'not_enough_data' \
            and time.monotonic() < end:
        time.sleep(0.2)
    checks.that('weirctl scaling has a verdict and the measured curve',
                judged['verdict'] != 'not_enough_data' and len(judged['curve']) > 1,
                f'{judged["verdict"]}: {judged["sentence"]}')
    connection = http.client.HTTPConnection('127.0.0.1', weir.status_port, timeout=10)
    connection.request('GET', '/', headers={'Accept': 'text/html'})
    response = connection.getresponse()
    checks.that('the dashboard is one page', response.read().startswith(b'<!doctype html>'))
    connection.request('GET', '/v1/stream')
    response, line = connection.getresponse(), b''
    while not line.startswith(b'data: '):
        line = response.readline()
    connection.close()
    tick = json.loads(line[len(b'data: '):])
    checks.equal('... and is told each second of every backend',
                 sorted(b['name'] for pool in tick['pools'] for b in pool['backends']), names)


def check_drain(weir, checks):
    weir.ctl_ok('drain', 'app/app-0', '--wait')
    checks.equal('weirctl drain: state of app/app-0', weir.backends()['app/app-0']['state'],
                 'draining')
    before = weir.requests()['app/app-0']
    result = Load(weir.port, '/', 4000).finish()
    checks.equal('failures while it is drained', result['bad'], 0)
    checks.equal('requests it got while drained', weir.requests()['app/app-0'] - before, 0)
    weir.ctl_ok('enable', 'app/app-0')
    result = Load(weir.port, '/', 4000).finish()
    checks.equal('failures after weirctl enable', result['bad'], 0)
    checks.that('it gets requests again', weir.requests()['app/app-0'] > before)
    return 8000


def check_reload(weir, checks):
    """A third backend comes in under load; a broken file changes nothing."""
    before = weir.ask(['status'])['generation']
    load = Load(weir.port, '/', 20000)
    weir.write_conf(weir.apps['app'])
    weir.ctl_ok('reload')
    checks.equal('failures during a reload under load', load.finish()['bad'], 0)
    status = weir.ask(['status'])
    checks.that('the generation went up', status['generation'] > before,
                f'{before} to {status["generation"]}')
    result = Load(weir.port, '/', 4000).finish()
    checks.equal('failures after the reload', result['bad'], 0)
    checks.that('the new backend app/app-2 gets requests', weir.requests()['app/app-2'] > 0)
    with open(weir.conf, encoding='utf-8') as file:
        good = file.read()
    with open(weir.conf, 'w', encoding='utf-8') as file:
        file.write(good.replace('backends:', 'bakends:'))
    done = weir.ctl('reload')
    checks.that('weirctl reload of a broken file fails and names the key',
                done.returncode == 1 and 'bakends' in done.stdout + done.stderr)
    checks.equal('... and changes nothing: generation', weir.ask(['status'])['generation'],
                 status['generation'])
    with open(weir.conf, 'w', encoding='utf-8') as file:
        file.write(good)
    return 24000


def check(weir, sent, screen):
    checks = Checks()
    heading('checks')
    n_sent = sum(each['good'] + each['bad'] for each in sent) + check_answers(weir, checks)
    checks.equal('failures under load', sum(each['bad'] for each in sent), 0)
    check_counts(weir, checks, n_sent)
    check_views(weir, checks, screen)
    n_sent += check_drain(weir, checks)
    n_sent += check_reload(weir, checks)
    checks.equal('requests counted over drain and reload',
                 weir.ask(['status'])['totals']['requests'], n_sent)
    checks.equal('exit status after TERM', stop_weir(weir), 0)
    checks.that('the port is closed', not is_open(weir.port))
    print(f'\n{"everything holds" if not checks.failed else f"{checks.failed} do not hold"}')
    return 1 if checks.failed else 0


def seconds_of(text):
    match = re.fullmatch(r'(\d+)(s|m|h)?', text)
    if not match:
        raise argparse.ArgumentTypeError(f'{text!r} is no duration; write 30s or 5m')
    return int(match[1]) * {None: 1, 's': 1, 'm': 60, 'h': 3600}[match[2]]


def interrupted(*_):
    raise KeyboardInterrupt


def run(args, processes):
    weir = start_all(processes)
    try:
        sent, screen = show(weir)
        if args.check:
            return check(weir, sent, screen)
        invite(weir)
        try:
            wait_for_the_user(weir, processes, args.seconds)
        except KeyboardInterrupt:
            print()
        code = stop_weir(weir)
        print(f'weir stopped with exit status {code}')
        return code
    finally:
        weir.cleanup()


def main(run=run, prog='scripts/demo', description=__doc__):
    parser = argparse.ArgumentParser(prog=prog, description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--for', dest='seconds', type=seconds_of, default=0, metavar='TIME',
                        help='stop after this time, e.g. 30s or 5m')
    parser.add_argument('--check', action='store_true', help='no terminal: check, then exit 0 or 1')
    args = parser.parse_args()
    os.makedirs(OUT, exist_ok=True)
    signal.signal(signal.SIGTERM, interrupted)
    sys.stdout.reconfigure(line_buffering=True)
    processes = Processes()
    try:
        return run(args, processes)
    except Failure as failure:
        print(f'demo: {failure}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        processes.stop()


if __name__ == '__main__':
    sys.exit(main())
