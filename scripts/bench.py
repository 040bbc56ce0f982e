# SPDX-License-Identifier: MIT
"""weir beside nginx, haproxy and (for HTTP/2) nghttpx on this machine; started by scripts/bench.

What is measured: CPU time (user and system) of the proxy's whole process tree, in nanoseconds from
/proc/PID/task/*/schedstat, over one run of the load tool, divided by the answers that the tool
counted.  "ratio" is weir's CPU time divided by the peer's in the same round: below 1, weir is
cheaper.  Proxies take turns (A B C, A B C, ...), and medians and spread over the rounds are
printed, so a machine that drifts cancels out.

One worker on one core, the load tool and the sample app servers (weir-app) on another, unless the
row says that nothing is pinned.  Everybody keeps connections alive on both sides, streams request
bodies, picks the least loaded of four backends and writes no log unless the row says so.  nginx
and haproxy add X-Forwarded-For only; weir sets its other X-Forwarded fields and X-Request-ID and
keeps its statistics, as it always does; row `stats` shows what those cost, beside weir-bare, in which
recording them is compiled out.  Row `watched` is about monitoring: the CPU time of weir's control
thread in a second in which everything is read, beside a weir that nobody reads (weir-unread); 10 000
us are a percent of a core, and the latencies are those of the clients meanwhile.  Rows "beside" are
about fairness: the ratio is that of the p99 of small requests in an open loop, "beside/s" how many of
the large ones, or handshakes, went on meanwhile.

Row `limit`: all three count the requests of each address, and the limit is never reached.  Row `auth`:
the backends are asked about each request (nginx: auth_request), so a request is two for them.  Row
`gzip`: both at level 5 of zlib; "left" is what is left of a body, and at an equal share the ratio is
that of the CPU time per KiB.  Row `h2toh2`: the backend is an nginx; as a proxy it cannot do it.

Limits: loopback says nothing about network cards.  The client's core is often the first to be
full: "cores" below 1 means that the proxy had time to spare, and a proxy that sleeps and wakes
pays for that in its figure.  "others" is what unrelated programs used; a round above 0.15 is
repeated up to twice.  Latencies below a few milliseconds are as much the client's as the proxy's.
"bad" counts wrong, failed or missing answers and should be 0.
"""
import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time

from bench_lib import clients, draw, procs, report
from bench_lib.peers import PEERS, setup

OUT = os.path.join(procs.ROOT, 'build', 'bench')
OTHERS_MAX, ATTEMPTS = 0.15, 3
IDLE_LOW, IDLE_HIGH = 1000, 8000
CONNECTIONS = 10500  # that every proxy is set up for
H1, H2 = ('weir', 'nginx', 'haproxy'), ('weir', 'nginx', 'haproxy', 'nghttpx')
H2_BEHIND = ('weir', 'haproxy', 'nghttpx')  # whose backends may speak HTTP/2


def row(title, **changed):
    base = dict(title=title, load='wrk', conns=64, path='/bytes/100', size=100, post=0, close=False,
                backends=4, routes=0, tls=False, resume=False, streams=0, rate=0, beside='', workers=1,
                log=False, idle=0, does='', h2_behind=False, peers=H1, unit='request')
    assert set(changed) <= set(base), changed
    return base | changed


def beside_row(what):
    """Small requests, a thousand a second, beside what keeps the proxy busy."""
    return row(f'100 B, 1000 requests/s, beside {what}', load='beside', beside=what, conns=500,
               rate=1000, tls=True)


def tunnel_row(title, size):
    return row(title, load='tunnel', size=size, backends=0, unit='message')


def size_row(title, size, **changed):
    return row(title, path=f'/bytes/{size}', size=size, **changed)


ROWS = {
    'small64': row('100 B, 64 connections'),
    'small512': row('100 B, 512 connections', conns=512),
    'kib64': size_row('1 KiB, 64 connections', 1024),
    '64KiB': size_row('64 KiB, 64 connections', 65536),
    '1MiB': size_row('1 MiB, 16 connections', 1048576, conns=16),
    'post16k': row('POST 16 KiB, 64 connections', post=16384),
    'connect': row('a connection per request', close=True),
    'limit': row('rate limit by client address, 100 B, 64 connections', does='limit'),
    'auth': row('forward auth, 100 B, 64 connections', does='auth', peers=('weir', 'nginx')),
    'gzip': size_row('gzip of 64 KiB of JSON, 16 connections', 65536, conns=16, does='gzip',
                     peers=('weir', 'nginx')),
    'log': row('access log to a file (weir JSON, nginx combined, haproxy httplog)', log=True),
    'back1000': row('1000 backends, 64 connections', backends=1000),
    'route10k': row('10 000 routes, 64 connections', routes=10000, path='/r%d/x?body=100'),
    'tls64': row('TLS 1.3, 100 B, 64 connections', tls=True),
    'tls64KiB': size_row('TLS 1.3, 64 KiB, 64 connections', 65536, tls=True),
    'handshake': row('full TLS 1.3 handshake and one request', tls=True, load='handshakes',
                     unit='handshake'),
    'resumed': row('resumed TLS 1.3 handshake and one request', tls=True, load='handshakes',
                   resume=True, unit='handshake'),
    'h2m10': row('HTTP/2, 16 connections x 10 streams', tls=True, load='h2load', conns=16,
                 streams=10, peers=H2),
    'h2m32': row('HTTP/2, 16 connections x 32 streams', tls=True, load='h2load', conns=16,
                 streams=32, peers=H2),
    'h2toh2': row('HTTP/2 to HTTP/2, 16 connections x 10 streams', tls=True, load='h2load', conns=16,
                  streams=10, h2_behind=True, peers=H2_BEHIND),
    'downloads': beside_row('downloads'),
    'tlsdownloads': beside_row('tls downloads'),
    'h2downloads': beside_row('h2 downloads'),
    'uploads': beside_row('uploads'),
    'flood': beside_row('handshakes'),
    'tunnel64': tunnel_row('32 tunnels, echo of 64 B', 64),
    'tunnel4k': tunnel_row('32 tunnels, echo of 4 KiB', 4096),
    'workers2': row('two workers, nothing pinned, 64 connections', workers=2),
    'stats': row('statistics compiled out (weir-bare), 100 B, 64 connections', peers=('weir', 'weir-bare')),
    'watched': row('control thread, read once a second (/v1/pools, /metrics) and not at all; 1000 '
                   'backends, 1500 requests/s', load='watch', backends=1000, rate=1500,
                   peers=('weir', 'weir-unread'), unit='second'),
    'open30k': row('open loop, nothing pinned, 30 000 requests/s', load='open', conns=2000, rate=30000),
    'open45k': row('open loop, nothing pinned, 45 000 requests/s', load='open', conns=2000, rate=45000),
    'idle': row('memory of an idle connection', load='idle', unit='connection'),
    'idletls': row('memory of an idle TLS connection', load='idle', tls=True, unit='connection'),
}
LOADS = {'wrk': clients.wrk, 'h2load': clients.h2load, 'open': clients.open_loop,
         'handshakes': clients.handshakes, 'tunnel': clients.tunnel, 'beside': clients.beside}

# What a request costs beside things that do not take part in it.
CURVES = {
    'idle': ('idle connections', 'idle', (10, 100, 1000, 10000)),
    'backends': ('backends', 'backends', (1, 10, 100, 1000)),
    'routes': ('routes', 'routes', (1, 10, 100, 1000, 10000)),
}


def backends_of(r, core):
    if r['does'] == 'gzip':
        return procs.Documents(r['size'], core)
    if r['h2_behind']:
        return procs.Http2(r['size'], core)
    return procs.Apps(r['backends'], core=core) if r['backends'] else procs.Echo(core)


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.tls = procs.make_certificate(folder)
        self.files = procs.allow_files()
        self.failures = []

    # ---- one measurement ----

    def idle_most(self):
        """Idle connections that this process, weir, nginx and haproxy (two descriptors each) can hold."""
        return (self.files - 1200) // 2

    def seconds(self):
        return 1 if self.options.quick else self.options.seconds

    def once(self, r, proxy, apps, cores):
        pids = proxy.pids()
        before = (procs.cpu_ns(pids), procs.cpu_ns([apps.process.pid]), procs.own_seconds(),
                  procs.busy_seconds(), time.monotonic())
        seen = LOADS[r['load']](r, proxy.port, self.seconds(), cores[0])
        ns = procs.cpu_ns(pids) - before[0]
        app_ns = procs.cpu_ns([apps.process.pid]) - before[1]
        ours = (ns + app_ns) / 1e9 + procs.own_seconds() - before[2]
        others = max(0.0, procs.busy_seconds() - before[3] - ours)
        if seen['n'] == 0:
            raise procs.Failure(f'{proxy.name}: no answer ({seen["bad"]} bad): {proxy.last_words()}')
        seen |= dict(cpu_us=ns / 1e3 / seen['n'], rps=seen['n'] / seen['span'],
                     cores=ns / 1e9 / seen['span'], others=others / (time.monotonic() - before[4]))
        return seen

    def measure(self, r, proxy, apps, cores):
        """The least disturbed of up to three attempts."""
        best = None
        for _ in range(1 if self.options.quick else ATTEMPTS):
            seen = self.once(r, proxy, apps, cores)
            if best is None or seen['others'] < best['others']:
                best = seen
            if best['others'] <= OTHERS_MAX:
                break
        return best

    def memory(self, r, proxy):
        """Growth from some connections to many: what is allocated at start is left out."""
        idle = clients.Idle(proxy.port, r['tls'])
        low, high = (100, 900) if self.options.quick else (IDLE_LOW, min(IDLE_HIGH, self.idle_most()))
        try:
            good = idle.grow(low)
            before = procs.rss_bytes(proxy.pids())
            good = idle.grow(high) and good
            after = procs.rss_bytes(proxy.pids())
        finally:
            idle.close()
        return dict(n=high - low, bad=0 if good else 1,
                    rss_bytes=max(0, after - before) / (high - low))

    def watch(self, r, proxy, cores):
        """CPU of the control thread while somebody reads all there is, once a second."""
        seconds = 3 if self.options.quick else max(5, round(self.seconds()))
        seen = {}
        client = threading.Thread(
            target=lambda: seen.update(clients.open_loop(r, proxy.port, seconds + 1, cores[0])))
        client.start()
        time.sleep(1)
        before, bad = procs.main_thread_ns(proxy.process.pid), 0
        for _ in range(seconds):
            end = time.monotonic() + 1
            for path in ('/v1/pools', '/metrics') if proxy.name == 'weir' else ():
                said = clients.ask_socket(os.path.join(proxy.scratch, 'weir.sock'), path)
                bad += len(said) < 100000
            time.sleep(max(0.0, end - time.monotonic()))
        ns = procs.main_thread_ns(proxy.process.pid) - before
        client.join()
        if not seen:
            raise procs.Failure('weir-load failed')
        return seen | dict(rps=1, n=seconds, bad=seen['bad'] + bad, cpu_us=ns / 1e3 / seconds,
                           cores=ns / 1e9 / seconds, others=0)

    # ---- a row: all proxies are up, one at a time is under load ----

    def start(self, name, r, apps, cores):
        # generous: haproxy gives up idle backend connections when a quarter of its limit is in use
        what = setup(apps.ports, routes=r['routes'], workers=r['workers'], log=r['log'], does=r['does'],
                     h2_behind=r['h2_behind'], tls=self.tls if r['tls'] else None, both=bool(r['beside']),
                     connections=min(CONNECTIONS, self.idle_most() + 300))
        return procs.Proxy(name, PEERS[name], what, cores[1])

    def fail(self, name, why):
        self.failures.append(f'{name}: {why}')
        procs.progress('')
        print(f'  left out: {name}: {why}', flush=True)

    def start_all(self, r, apps, cores, running):
        for name in r['peers']:
            if name in self.options.peers:
                try:
                    running[name] = self.start(name, r, apps, cores)
                except (procs.Failure, OSError) as why:
                    self.fail(name, why)

    def warm_up(self, r, running, held, cores):
        """Connections to the backends open, caches warm; idle connections stay until the end."""
        for name, proxy in list(running.items()):
            try:
                if r['idle']:
                    held.append(clients.Idle(proxy.port, r['tls']))
                    held[-1].grow(r['idle'])
                if not self.options.quick:
                    LOADS[r['load']](r, proxy.port, 1, cores[0])
            except (procs.Failure, OSError) as why:
                self.fail(name, why)
                running.pop(name).stop()

    def round(self, r, running, apps, cores, table):
        for name, proxy in list(running.items()):
            try:
                if r['load'] == 'idle':
                    seen = self.memory(r, proxy)
                elif r['load'] == 'watch':
                    seen = self.watch(r, proxy, cores)
                else:
                    seen = self.measure(r, proxy, apps, cores)
                table.setdefault(name, []).append(seen)
            except (procs.Failure, OSError) as why:
                self.fail(name, why)
                running.pop(name).stop()
                table.pop(name, None)

    def run(self, name, r):
        pinned = r['workers'] == 1 and r['load'] not in ('open', 'watch')  # open loop: nobody's core may be full
        cores = procs.cores() if pinned else (None, None)
        if r['idle']:
            r = r | dict(idle=min(r['idle'], self.idle_most()))
        running, held, table = {}, [], {}
        apps = backends_of(r, cores[0])
        try:
            self.start_all(r, apps, cores, running)
            if r['load'] in LOADS:
                self.warm_up(r, running, held, cores)
            rounds = 1 if r['load'] == 'idle' else self.options.rounds
            for number in range(rounds):
                procs.progress(f'{name}: round {number + 1} of {rounds}')
                self.round(r, running, apps, cores, table)
        finally:
            for idle in held:
                idle.close()
            for proxy in running.values():
                proxy.stop()
            apps.stop()
            procs.progress('')
        return table


def names_from(words, known, what):
    names = list(known) if words == 'all' else [w for w in words.split(',') if w]
    for name in names:
        if name not in known:
            sys.exit(f'bench: no {what} {name!r}; there are: {", ".join(known)}')
    return names


def arguments():
    parser = argparse.ArgumentParser(
        prog='scripts/bench', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='$WEIR, $NGINX, $HAPROXY and $NGHTTPX name other binaries.  Results: bench.json, '
        'bench.svg, and curves.svg with --curves.')
    parser.add_argument('--list', action='store_true', help='name rows and curves, run nothing')
    parser.add_argument('--rows', default='all', metavar='A,B', help='which [all]; "" for none')
    parser.add_argument('--peers', default='all', metavar='A,B', help='who takes part [all]')
    parser.add_argument('--curves', nargs='?', const='all', default='', metavar='A,B',
                        help='also the cost beside idle connections, backends, routes')
    parser.add_argument('--rounds', type=int, default=5, help='[5, quick: 1]')
    parser.add_argument('--seconds', type=int, default=2, help='of one measurement [2, quick: 1]')
    parser.add_argument('--quick', action='store_true', help='one round without warm-up: a trial, no result')
    parser.add_argument('--out', default=OUT, metavar='DIR', help='for results [build/bench]')
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1:
        parser.error('--rounds and --seconds are 1 or more')
    options.rounds = 1 if options.quick else options.rounds
    options.peers = names_from(options.peers, PEERS, 'peer')
    options.rows = names_from(options.rows, ROWS, 'row')
    options.curves = names_from(options.curves, CURVES, 'curve')
    return options


def versions(names):
    """Of the peers that are there."""
    found = {}
    for name in names:
        try:
            found[name] = procs.version(name.removesuffix('-unread'))
        except procs.Failure as why:
            print(f'left out: {name}: {why}')
    return found


def run_rows(bench, names, raw, results):
    for name in names:
        try:
            raw[name] = bench.run(name, ROWS[name])
        except (procs.Failure, OSError) as why:
            bench.fail(name, why)
            continue
        results[name] = report.summary(ROWS[name], raw[name])
        report.print_row(ROWS[name], results[name])


def run_curves(bench, names, found):
    """Fills {curve: {peer: [[x, median us]]}}."""
    for name in names:
        title, key, values = CURVES[name]
        lines = found[name] = {}
        for value in values[:2] if bench.options.quick else values:
            if key == 'idle':
                value = min(value, bench.idle_most())
            r = row(f'{value} {title}', **{key: value},
                    path='/r%d/x?body=100' if key == 'routes' else '/bytes/100')
            rows = report.summary(r, bench.run(f'{name} {value}', r))
            report.print_row(r, rows)
            for p, s in rows.items():
                lines.setdefault(p, []).append([value, s['cpu_us']])


def write(options, head, results, raw, found):
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, 'bench.json'), 'w', encoding='utf-8') as out:
        json.dump(head | dict(summary=results, rounds=raw, curves=found), out, indent=1)
    names = ', '.join(f'{p} {v}' for p, v in head['versions'].items())
    groups = report.bar_groups(ROWS, results)
    if groups:
        with open(os.path.join(options.out, 'bench.svg'), 'w', encoding='utf-8') as out:
            out.write(draw.bars('CPU time per request, or memory, weir = 1 (less is better)',
                                f'{names}; whiskers: all rounds', groups, unit_line=1))
    panels = [draw.Panel('CPU us per request', CURVES[n][0], lines)
              for n, lines in found.items() if lines]
    if panels:
        with open(os.path.join(options.out, 'curves.svg'), 'w', encoding='utf-8') as out:
            out.write(draw.curves(panels))
    print(f'\nwritten: {options.out}')


def main():
    options = arguments()
    if options.list:
        print(''.join(f'{k:10} {v["title"]}\n' for k, v in ROWS.items()), end='')
        print('curves:   ', ', '.join(CURVES))
        return 0
    procs.end_cleanly()
    have = versions(options.peers)
    options.peers = list(have)
    if not have:
        sys.exit('bench: nobody takes part')
    head = dict(versions=have, cores=os.cpu_count(), kernel=platform.release(),
                rounds_n=options.rounds, seconds=options.seconds, quick=options.quick)
    print(', '.join(f'{p} {v}' for p, v in have.items()) + f'; {os.cpu_count()} cores, Linux '
          f'{platform.release()}; {options.rounds} rounds of {options.seconds} s', flush=True)
    raw, results, found, ended = {}, {}, {}, 0
    with tempfile.TemporaryDirectory(prefix='weir-bench-') as folder:
        bench = Bench(options, folder)
        try:
            run_rows(bench, options.rows, raw, results)
            run_curves(bench, options.curves, found)
        except SystemExit as interrupt:  # what was measured until then is kept
            ended = interrupt.code
    if results:
        report.print_table(ROWS, results, options.peers)
    write(options, head, results, raw, found)
    bad = [n for n, found in results.items() if any(s['bad'] for s in found.values())]
    if bad:
        print(f'bad answers in: {", ".join(bad)}')
    return ended or (1 if bad or bench.failures else 0)


if __name__ == '__main__':
    sys.exit(main())
