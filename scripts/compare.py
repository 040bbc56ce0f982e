# SPDX-License-Identifier: MIT
"""Which balancing keeps latency low?  weir's strategies beside those of nginx and haproxy.

  slow      four backends, one of them 50 ms slower, 4000 requests/s
  mixed     three backends of 1000 requests/s and one of 333 (four workers each; 4 and 12 ms,
            exponential), at 70 % of what they can do together
  recovery  as slow, then the slow one becomes as fast as the others: after how long it has at
            least half of its fair share again; "never left" when it always had

weir-load sends at Poisson times whatever the answers do, and latency counts from when a request
was due (no coordinated omission); every contender gets the same schedule.  They take turns, and
medians over the rounds are printed.  "slow one" is the share of requests that the first backend
got.  One worker each; nothing is pinned.  Limits: one machine, loopback; what the client itself
adds when the machine is busy is in all figures alike, so compare them within one run only.
"""
import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from bench_lib import clients, draw, procs
from bench_lib.peers import PEERS, setup

OUT = os.path.join(procs.ROOT, 'build', 'compare')
CONTENDERS = {f'{peer} {strategy}': (peer, strategy) for peer, strategies in {
    'weir': ('auto', 'least-request', 'p2c', 'round-robin', 'random', 'peak-ewma', 'prequal'),
    'nginx': ('round robin', 'least_conn', 'random two least_conn'),
    'haproxy': ('roundrobin', 'leastconn', 'random(2)'),
}.items() for strategy in strategies}

SLOW_RATE, SLOW_MS = 4000, 50
WORKERS, FAST_MS, MIXED_MS = 4, 4, 12
MIXED_RATE = 0.7 * WORKERS * 1000 * (3 / FAST_MS + 1 / MIXED_MS)
SCENARIOS = {
    'slow': dict(title=f'one of four backends {SLOW_MS} ms slower, {SLOW_RATE} requests/s',
                 rate=SLOW_RATE, apps=['--instance', f'0:head_delay={SLOW_MS}ms']),
    'mixed': dict(title=f'mixed capacities at 70 % load, {MIXED_RATE:.0f} requests/s', rate=MIXED_RATE,
                  apps=['--set', f'service={FAST_MS}ms,dist=exp,workers={WORKERS}', '--instance',
                        f'0:service={MIXED_MS}ms']),
    'recovery': dict(title='a slow backend becomes fast: back to half of its fair share after',
                     rate=SLOW_RATE, apps=['--instance', f'0:head_delay={SLOW_MS}ms']),
}
BACKENDS = 4
HALF_SHARE = 0.5 / BACKENDS
LOOK_S, GIVE_UP_S = 0.1, 12
LATENCIES = ('p50_us', 'p99_us', 'p999_us')


class Control:
    """The control requests of one weir-app instance, over one kept connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)

    def ask(self, path):
        self.connection.request('GET', path)
        return self.connection.getresponse().read()

    def requests(self):
        return json.loads(self.ask('/_stats'))['requests']

    def close(self):
        self.connection.close()


class Run:
    """One contender in one scenario, from start to stop."""

    def __init__(self, scenario, contender, options, number):
        self.s, self.options, self.seed = SCENARIOS[scenario], options, number + 1
        self.peer, self.strategy = CONTENDERS[contender]
        self.row = dict(rate=self.s['rate'], path='/', conns=4000)

    def __enter__(self):
        self.apps = procs.Apps(BACKENDS, self.s['apps'] + ['--seed', str(self.seed)])
        self.proxy, self.controls = None, []
        try:
            self.controls = [Control(p) for p in self.apps.ports]
            self.proxy = procs.Proxy(self.peer, PEERS[self.peer],
                                     setup(self.apps.ports, strategy=self.strategy))
            self.load(1 if self.options.quick else 3)  # connections, and what the strategy learns
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for control in self.controls:
            control.close()
        if self.proxy:
            self.proxy.stop()
        self.apps.stop()

    def load(self, seconds):
        return clients.open_loop(self.row, self.proxy.port, seconds, None, self.seed)

    def counts(self):
        return [control.requests() for control in self.controls]

    def latency(self):
        before, busy, own = self.counts(), procs.busy_seconds(), procs.own_seconds()
        ours = procs.cpu_ns([*self.proxy.pids(), self.apps.process.pid])
        seen = self.load(self.options.seconds)
        ours = procs.cpu_ns([*self.proxy.pids(), self.apps.process.pid]) - ours
        others = procs.busy_seconds() - busy - (procs.own_seconds() - own) - ours / 1e9
        got = [b - a for a, b in zip(before, self.counts())]
        return {k: seen[k] for k in LATENCIES} | dict(
            n=seen['n'], errors=seen['bad'], share=got[0] / max(1, sum(got)),
            others=max(0.0, others / self.options.seconds))

    def recovery(self):
        """Seconds until a look of LOOK_S finds half of the fair share; None: never."""
        limit = 3 if self.options.quick else GIVE_UP_S
        argv = [procs.program('weir-load'), '--target', f'127.0.0.1:{self.proxy.port}', '--rate',
                str(self.s['rate']), '--seconds', f'{limit + 1}s', '--seed', str(self.seed)]
        client = subprocess.Popen(argv, stdout=subprocess.PIPE)
        try:
            left = self.share_of_first(0.5) < HALF_SHARE
            self.controls[0].ask('/_set?head_delay=0')
            begin = time.monotonic()
            while left and time.monotonic() < begin + limit:
                if self.share_of_first(LOOK_S) >= HALF_SHARE:
                    return dict(back_s=time.monotonic() - begin, left=True)
            return dict(back_s=None if left else 0.0, left=left)
        finally:
            procs.stop(client)
            client.stdout.close()

    def share_of_first(self, seconds):
        before = self.counts()
        time.sleep(seconds)
        got = [b - a for a, b in zip(before, self.counts())]
        return got[0] / max(1, sum(got))


# ---- what comes out ----

def summary(rounds):
    if 'back_s' in rounds[0]:
        back = [r['back_s'] for r in rounds]
        return dict(left=any(r['left'] for r in rounds),
                    back_s=None if None in back else statistics.median(back))
    s = {k: statistics.median(r[k] for r in rounds) for k in (*LATENCIES, 'share', 'others')}
    return s | dict(errors=sum(r['errors'] for r in rounds), n=sum(r['n'] for r in rounds),
                    p99_low=min(r['p99_us'] for r in rounds), p99_high=max(r['p99_us'] for r in rounds))


def back_text(s):
    if not s['left']:
        return 'never left'
    return f'{s["back_s"]:.1f} s' if s['back_s'] is not None else 'not at all'


def print_table(scenario, found):
    print(f'\n{SCENARIOS[scenario]["title"]}\n')
    if scenario == 'recovery':
        print('| | back after |\n|---|---:|')
        for name, s in found.items():
            print(f'| {name} | {back_text(s)} |')
    else:
        print('| ms | p50 | p99 | p99 of rounds | p99.9 | errors | slow one | others |')
        print('|---|---:|---:|---:|---:|---:|---:|---:|')
        for name, s in found.items():
            p50, p99, p999 = (f'{s[k] / 1e3:.2f}' for k in LATENCIES)
            print(f'| {name} | {p50} | {p99} | {s["p99_low"] / 1e3:.2f}..{s["p99_high"] / 1e3:.2f}'
                  f' | {p999} | {s["errors"]} | {s["share"] * 100:.2f} % | {s["others"]:.2f} |')
    sys.stdout.flush()


def bar_groups(results):
    groups = []
    for scenario, found in results.items():
        if scenario == 'recovery':
            continue
        bars = [(name, s['p99_us'] / 1e3, s['p99_low'] / 1e3, s['p99_high'] / 1e3,
                 f'{s["p99_us"] / 1e3:.1f}  (p99.9 {s["p999_us"] / 1e3:.1f})')
                for name, s in found.items()]
        groups.append((SCENARIOS[scenario]['title'], bars))
    return groups


def names_from(words, known, what):
    names = list(known) if words == 'all' else [w for w in words.split(',') if w]
    for name in names:
        if name not in known:
            sys.exit(f'compare: no {what} {name!r}; there are: {", ".join(known)}')
    return names


def arguments():
    parser = argparse.ArgumentParser(
        prog='scripts/compare', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='$WEIR, $NGINX and $HAPROXY name other binaries.  Results: compare.json, compare.svg.')
    parser.add_argument('--list', action='store_true', help='name scenarios and contenders, run nothing')
    parser.add_argument('--only', default='all', metavar='A,B', help='scenarios [all]')
    parser.add_argument('--contenders', default='all', metavar='A,B',
                        help='who takes part, as in "weir auto,nginx least_conn" [all]')
    parser.add_argument('--rounds', type=int, default=3, help='[3, quick: 1]')
    parser.add_argument('--seconds', type=int, default=8, help='of one measurement [8, quick: 1]')
    parser.add_argument('--quick', action='store_true', help='a trial, no result')
    parser.add_argument('--out', default=OUT, metavar='DIR', help='for results [build/compare]')
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1:
        parser.error('--rounds and --seconds are 1 or more')
    if options.quick:
        options.rounds = options.seconds = 1
    options.only = names_from(options.only, SCENARIOS, 'scenario')
    options.contenders = names_from(options.contenders, CONTENDERS, 'contender')
    return options


def measure(scenario, options, failures, table):
    """Fills {contender: rounds}; who cannot run is left out, and said."""
    for number in range(options.rounds):
        for name in options.contenders:
            if name in failures:
                continue
            procs.progress(f'{scenario}: round {number + 1} of {options.rounds}, {name}')
            try:
                with Run(scenario, name, options, number) as run:
                    seen = run.recovery() if scenario == 'recovery' else run.latency()
                table.setdefault(name, []).append(seen)
            except (procs.Failure, OSError) as why:
                failures.add(name)
                table.pop(name, None)
                procs.progress('')
                print(f'left out: {name}: {why}', flush=True)
    procs.progress('')


def measure_all(options, raw, failures):
    """0, or the exit status of an interrupt: what was measured until then is kept."""
    try:
        for scenario in options.only:
            measure(scenario, options, failures, raw.setdefault(scenario, {}))
    except SystemExit as interrupt:
        return interrupt.code
    return 0


def main():
    options = arguments()
    if options.list:
        print(''.join(f'{k:9} {v["title"]}\n' for k, v in SCENARIOS.items()), end='')
        print('contenders:', ', '.join(CONTENDERS))
        return 0
    procs.end_cleanly()
    procs.allow_files()
    versions = {p: procs.version(p) for p in sorted({CONTENDERS[c][0] for c in options.contenders})}
    names = ', '.join(f'{p} {v}' for p, v in versions.items())
    print(f'{names}; {os.cpu_count()} cores, Linux {platform.release()}; {options.rounds} rounds of'
          f' {options.seconds} s', flush=True)
    raw, results, failures = {}, {}, set()
    ended = measure_all(options, raw, failures)
    for scenario, table in raw.items():
        results[scenario] = {name: summary(rounds) for name, rounds in table.items()}
        print_table(scenario, results[scenario])
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, 'compare.json'), 'w', encoding='utf-8') as out:
        json.dump(dict(versions=versions, cores=os.cpu_count(), kernel=platform.release(),
                       seconds=options.seconds, quick=options.quick, summary=results, rounds=raw),
                  out, indent=1)
    with open(os.path.join(options.out, 'compare.svg'), 'w', encoding='utf-8') as out:
        out.write(draw.bars('p99 in ms (less is better)', names + '; whiskers: all rounds',
                            bar_groups(results)))
    print(f'\nwritten: {options.out}')
    return ended or (1 if failures else 0)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except procs.Failure as why:
        sys.exit(f'compare: {why}')
