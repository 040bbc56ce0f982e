# SPDX-License-Identifier: MIT
"""Compare weir with nginx and haproxy on loopback; started by scripts/bench.

What is measured: CPU time (user and system) of the proxy's whole process tree, in nanoseconds out
of /proc/PID/task/*/schedstat, over one run of wrk, divided by the responses wrk counted.  The
proxy has one worker on one core, wrk and the app server share the other.  Proxies take turns
(A B C, A B C, ...) and a ratio is the median of the rounds' ratios, so a machine that drifts
cancels out.  A round with any failed or wrong answer stops the benchmark.

All proxies keep connections alive on both sides, write no access log, stream request bodies and
pick the least loaded of four backends.  nginx and haproxy add X-Forwarded-For only; weir sets
its other X-Forwarded fields and X-Request-ID as well, as it always does.
"""
import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, 'build', 'bench')
BIN = os.path.join(ROOT, 'build', 'release', 'bin')
TICK = os.sysconf('SC_CLK_TCK')

# name: what it shows, connections, path, and what differs from a plain GET over keep-alive
SCENARIOS = {
    'small64': dict(title='100 B, 64 connections', conns=64, path='/bytes/100', size=100),
    'small512': dict(title='100 B, 512 connections', conns=512, path='/bytes/100', size=100),
    '64KiB': dict(title='64 KiB, 64 connections', conns=64, path='/bytes/65536', size=65536),
    '1MiB': dict(title='1 MiB, 16 connections', conns=16, path='/bytes/1048576', size=1048576),
    'post16k': dict(title='POST 16 KiB, 64 connections', conns=64, path='/bytes/100', size=100,
                    post=16384),
    'connect': dict(title='a connection per request', conns=64, path='/bytes/100', size=100,
                    close=True),
    'back1000': dict(title='1000 backends, 64 connections', conns=64, path='/bytes/100', size=100,
                     backends=1000),
    'route10k': dict(title='10 000 routes, 64 connections', conns=64, size=100, routes=10000,
                     path='/r%d/x?body=100'),
}

# wrk reports through its script; the routes' requests are spread by a prime step.
LUA = '''
local conf = {method = "%(method)s", body = %(body)s, close = %(close)s, routes = %(routes)d}
local path, step = "%(path)s", 0
wrk.method, wrk.body = conf.method, conf.body
if conf.close then wrk.headers["Connection"] = "close" end
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


# ---- what to run: one function per proxy, from ports to command line and files ----

def weir(s, port, backends, scratch):
    routes = ''.join(f'  - {{match: {{path: /r{i}/}}, pool: app}}\n' for i in range(s['routes']))
    text = (f'workers: 1\nstatus: {{socket: {scratch}/weir.sock}}\nlisteners:\n'
            f'  - bind: 127.0.0.1:{port}\n    timeouts: {{keepalive: 300s}}\n'
            + (f'routes:\n{routes}' if routes else '')
            + 'pools:\n  app:\n    keepalive: {idle: 300s, max_idle: 4096}\n    backends:\n'
            + ''.join(f'      - 127.0.0.1:{p}\n' for p in backends))
    return [program('weir'), '-c', f'{scratch}/weir.yaml'], {'weir.yaml': text}


def nginx(s, port, backends, scratch):
    proxy = ('proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";'
             ' proxy_set_header Host $http_host;'
             ' proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;')
    where = ''.join(f'location /r{i}/ {{ {proxy} }}\n' for i in range(s['routes']))
    temp = ''.join(f'{kind}_temp_path {scratch}/{kind};\n'
                   for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
    text = f'''daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log stderr warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{ access_log off; server_tokens off; keepalive_timeout 300s;
keepalive_requests 1000000000; tcp_nodelay on; {temp}
upstream app {{ least_conn; keepalive 4096; keepalive_requests 1000000000; keepalive_timeout 300s;
{''.join(f"server 127.0.0.1:{p};" for p in backends)} }}
server {{ listen 127.0.0.1:{port} backlog=4096;
proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_max_temp_file_size 0;
proxy_request_buffering off; client_body_buffer_size 32k;
{where or f'location / {{ {proxy} }}'} }} }}
'''
    argv = [program('nginx'), '-p', scratch, '-e', 'stderr', '-c', f'{scratch}/nginx.conf']
    return argv, {'nginx.conf': text}


def haproxy(s, port, backends, scratch):
    rule, files = 'default_backend app', {}
    if s['routes']:
        files['routes.map'] = ''.join(f'/r{i}/ app\n' for i in range(s['routes']))
        rule = f'use_backend %[path,map_beg({scratch}/routes.map)]'
    files['haproxy.cfg'] = f'''global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    option forwardfor
    http-reuse always
frontend web
    bind 127.0.0.1:{port} backlog 4096
    {rule}
backend app
    balance leastconn
''' + ''.join(f'    server s{i} 127.0.0.1:{p}\n' for i, p in enumerate(backends))
    return [program('haproxy'), '-db', '-f', f'{scratch}/haproxy.cfg'], files


PROXIES = {'weir': weir, 'nginx': nginx, 'haproxy': haproxy}


def program(name):
    """A binary: $WEIR, $NGINX, $HAPROXY, else this build's weir or the system's."""
    own = os.path.join(BIN, name)
    path = os.environ.get(name.upper()) or (own if os.path.exists(own) else None)
    path = path or shutil.which(name) or shutil.which(name, path='/usr/sbin:/sbin')
    return path or sys.exit(f'bench: no program {name}')


def version(name):
    argv = {'weir': '-v', 'nginx': '-v', 'haproxy': '-v'}
    said = subprocess.run([program(name), argv[name]], capture_output=True, text=True, check=False)
    number = re.search(r'\d+\.\d+[\w.+~-]*', said.stdout + said.stderr)
    return number[0] if number else 'unknown'


# ---- processes ----

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def pin(core):
    """A preexec function; on a single core nothing is pinned."""
    return (lambda: os.sched_setaffinity(0, {core})) if core is not None else None


def cores():
    """(core of wrk and the app server, core of the proxy)"""
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 else (None, None)


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


def stop(process):
    pids = tree(process.pid)
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


class Apps:
    """weir-app on its own ports, beside wrk."""

    def __init__(self, n):
        self.process = subprocess.Popen([program('weir-app'), '--instances', str(n)],
                                        stdout=subprocess.PIPE, text=True,
                                        preexec_fn=pin(cores()[0]))
        self.ports = json.loads(self.process.stdout.readline())['ports']


class Proxy:
    def __init__(self, name, s, backends):
        self.scratch = tempfile.mkdtemp(prefix='weir-bench-')
        self.port = free_port()
        argv, files = PROXIES[name](s, self.port, backends, self.scratch)
        for file, text in files.items():
            with open(os.path.join(self.scratch, file), 'w', encoding='utf-8') as out:
                out.write(text)
        self.log = os.path.join(OUT, f'{name}.log')
        with open(self.log, 'w', encoding='utf-8') as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=pin(cores()[1]))
        self.wait_until_open(name)

    def wait_until_open(self, name):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        sys.exit(f'bench: {name} did not start, see {self.log}')

    def stop(self):
        stop(self.process)
        shutil.rmtree(self.scratch, ignore_errors=True)


# ---- one measurement ----

def wrk(s, port, seconds):
    script = LUA % dict(method='POST' if s['post'] else 'GET', path=s['path'], routes=s['routes'],
                        body=f'string.rep("x", {s["post"]})' if s['post'] else 'nil',
                        close='true' if s['close'] else 'false')
    with tempfile.NamedTemporaryFile('w', suffix='.lua') as file:
        file.write(script)
        file.flush()
        path = '/' if s['routes'] else s['path']
        said = subprocess.run(
            ['wrk', '-t1', f'-c{s["conns"]}', f'-d{seconds}s', '--timeout', '10s', '-s', file.name,
             f'http://127.0.0.1:{port}{path}'],
            capture_output=True, text=True, check=False, preexec_fn=pin(cores()[0]))
    found = re.search(r'^RESULT (.*)$', said.stdout, re.M)
    return json.loads(found[1]) if found else sys.exit(f'bench: wrk failed: {said.stderr}')


def busy_seconds():
    with open('/proc/stat', encoding='utf-8') as stat:
        field = [int(x) for x in stat.readline().split()[1:]]
    return (sum(field[:3]) + sum(field[5:8])) / TICK


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(name, s, apps, seconds):
    proxy = Proxy(name, s, apps.ports)
    try:
        wrk(s, proxy.port, 1)  # connections to the backends open, caches warm
        pids = tree(proxy.process.pid)
        before = cpu_ns(pids), cpu_ns([apps.process.pid]), children_seconds(), busy_seconds()
        result = wrk(s, proxy.port, seconds)
        ns = cpu_ns(pids) - before[0]
        ours = (ns + cpu_ns([apps.process.pid]) - before[1]) / 1e9 + children_seconds() - before[2]
        other = busy_seconds() - before[3] - ours
    finally:
        proxy.stop()
    if result['bad'] or result['requests'] == 0 or result['bytes'] < result['requests'] * s['size']:
        sys.exit(f'bench: {name}: wrong answers in {s["title"]}: {result}, see {proxy.log}')
    span = result['us'] / 1e6
    return dict(cpu_us=ns / 1e3 / result['requests'], rps=result['requests'] / span,
                cores=ns / 1e9 / span, p50_us=result['p50'], p99_us=result['p99'],
                other_cores=max(0.0, other / span), requests=result['requests'])


def progress(text):
    """On a terminal: one line that is overwritten."""
    if sys.stderr.isatty():
        print(f'\r\x1b[K{text}', end='', file=sys.stderr, flush=True)


def run_scenario(name, proxies, rounds, seconds):
    s = dict(post=0, close=False, routes=0, backends=4) | SCENARIOS[name]
    apps = Apps(s['backends'])
    try:
        table = {p: [] for p in proxies}
        for number in range(rounds):
            for p in proxies:
                progress(f'{name}: round {number + 1} of {rounds}, {p}')
                table[p].append(measure(p, s, apps, seconds))
    finally:
        stop(apps.process)
        progress('')
    return table


# ---- what comes out ----

def summary(table, base):
    """Per proxy: medians, the spread of CPU time, and the ratio to the base by rounds."""
    rows = {}
    for p, rounds in table.items():
        cpu = [r['cpu_us'] for r in rounds]
        ratios = [r['cpu_us'] / b['cpu_us'] for r, b in zip(rounds, table[base])]
        rows[p] = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
        rows[p] |= dict(cpu_min=min(cpu), cpu_max=max(cpu), ratio=statistics.median(ratios),
                        ratio_min=min(ratios), ratio_max=max(ratios))
    return rows


def print_rows(name, rows, base):
    print(f'\n{SCENARIOS[name]["title"]}')
    print(f'  {"":8} {"CPU us/request":>22} {f"ratio to {base}":>24} {"requests/s":>11}'
          f' {"p50 ms":>7} {"p99 ms":>7} {"cores":>6} {"others":>6}')
    for p, r in rows.items():
        cpu = f'{r["cpu_us"]:.2f} ({r["cpu_min"]:.2f}..{r["cpu_max"]:.2f})'
        ratio = f'{r["ratio"]:.2f} ({r["ratio_min"]:.2f}..{r["ratio_max"]:.2f})'
        print(f'  {p:8} {cpu:>22} {ratio:>24} {r["rps"]:11.0f} {r["p50_us"] / 1e3:7.2f}'
              f' {r["p99_us"] / 1e3:7.2f} {r["cores"]:6.2f} {r["other_cores"]:6.2f}')
    sys.stdout.flush()


COLOURS = {'weir': '#1b6ca8', 'nginx': '#8a9a5b', 'haproxy': '#c98a3a'}


def svg_bar(y, p, row, scale, left):
    """One bar: its length is the ratio, the whisker its spread over the rounds."""
    low, high = (left + row[k] * scale for k in ('ratio_min', 'ratio_max'))
    middle = y + 8
    return (f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{p}</text>'
            f'<rect x="{left}" y="{y}" width="{row["ratio"] * scale:.1f}" height="16"'
            f' fill="{COLOURS[p]}"/>'
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 4}v8M{high:.1f} {y + 4}v8"'
            f' stroke="#222"/>'
            f'<text x="{max(high, left + row["ratio"] * scale) + 6:.1f}" y="{y + 12}">'
            f'{row["ratio"]:.2f}  ({row["cpu_us"]:.1f} us)</text>')


def svg(results, base, versions):
    left, width, y, parts = 90, 760, 64, []
    longest = max(r['ratio_max'] for rows in results.values() for r in rows.values())
    scale = (width - left - 130) / longest
    for name, rows in results.items():
        parts.append(f'<text x="12" y="{y + 12}" font-weight="bold">'
                     f'{SCENARIOS[name]["title"]}</text>')
        for p, row in rows.items():
            y += 20
            parts.append(svg_bar(y, p, row, scale, left))
        y += 34
    mark = left + scale
    names = ', '.join(f'{p} {v}' for p, v in versions.items())
    head = (f'<text x="12" y="22" font-size="16" font-weight="bold">CPU time per request, '
            f'{base} = 1 (less is better)</text>'
            f'<text x="12" y="42">{names}; one worker on one core; whiskers: all rounds</text>'
            f'<path d="M{mark:.1f} 52V{y - 10}" stroke="#999" stroke-dasharray="4 3"/>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}"'
            f' font-family="sans-serif" font-size="12">'
            f'<rect width="{width}" height="{y}" fill="#fff"/>{head}{"".join(parts)}</svg>\n')


def names_from(text, known, what):
    names = list(known) if text == 'all' else text.split(',')
    for name in names:
        if name not in known:
            sys.exit(f'bench: no {what} {name!r}; there are: {", ".join(known)}')
    return names


def arguments():
    parser = argparse.ArgumentParser(
        prog='scripts/bench', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='scenarios: ' + '; '.join(f'{k}: {v["title"]}' for k, v in SCENARIOS.items())
        + '\n$WEIR, $NGINX and $HAPROXY name other binaries.')
    parser.add_argument('--only', default='all', metavar='A,B', help='scenarios [all]')
    parser.add_argument('--proxies', default='all', metavar='A,B', help='which take part [all]')
    parser.add_argument('--rounds', type=int, default=3, help='[3]')
    parser.add_argument('--seconds', type=int, default=4, help='of one measurement [4]')
    return parser.parse_args()


def interrupted(*_):
    sys.exit(130)  # runs the finally blocks: nothing is left behind


def main():
    args = arguments()
    scenarios = names_from(args.only, SCENARIOS, 'scenario')
    proxies = names_from(args.proxies, PROXIES, 'proxy')
    base = 'nginx' if 'nginx' in proxies else proxies[0]
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.makedirs(OUT, exist_ok=True)
    versions = {p: version(p) for p in proxies}
    print(', '.join(f'{p} {v}' for p, v in versions.items())
          + f'; {os.cpu_count()} cores, Linux {platform.release()}; {args.rounds} rounds of'
          f' {args.seconds} s; "others": cores used by unrelated processes, should be near 0')
    results, raw = {}, {}
    for name in scenarios:
        raw[name] = run_scenario(name, proxies, args.rounds, args.seconds)
        results[name] = summary(raw[name], base)
        print_rows(name, results[name], base)
    with open(os.path.join(OUT, 'bench.json'), 'w', encoding='utf-8') as out:
        json.dump(dict(versions=versions, cores=os.cpu_count(), kernel=platform.release(),
                       base=base, seconds=args.seconds, summary=results, rounds=raw), out, indent=1)
    with open(os.path.join(OUT, 'bench.svg'), 'w', encoding='utf-8') as out:
        out.write(svg(results, base, versions))
    print('\nwritten: build/bench/bench.json, build/bench/bench.svg')


if __name__ == '__main__':
    main()
