# SPDX-License-Identifier: MIT
"""Three weirs as one service; started by scripts/fleet.

Each weir has a network namespace of its own, and so have Redis, the backends and the clients;
a bridge joins them, and keepalived (conf/keepalived.conf) holds one address for all.  Under load
a backend and Redis die, a node loses its way to Redis, the one with the address all its ways, and
at last it dies.  Exits with 1 when anything but the connections of that node is lost, nodes
disagree about keys or pins, the shared rate limit does not hold, or the address takes longer than
5 s to move.  Needs root, for namespaces; takes about a minute.
"""
import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(os.path.abspath(os.environ.get('WEIR_BUILD', os.path.join(ROOT, 'build', 'release'))),
                   'bin')
NET = '10.99.0.'
NODES = {'a': NET + '11', 'b': NET + '12', 'c': NET + '13'}
REDIS, APP, CLIENT, SHARED = NET + '20', NET + '30', NET + '40', NET + '100'
PORTS = (8001, 8002, 8003)
RATE, BURST = 200, 100  # of the shared limit
CONF = '''# written by scripts/fleet
workers: 1
status: {{socket: {folder}/{name}.sock, bind: "0.0.0.0:8404"}}
shared: {{redis: {{address: "{redis}:6379"}}, node: {name}}}
listeners: [{{name: web, bind: "0.0.0.0:8080"}}]
routes:
  - {{name: keyed, match: {{path: /keyed/}}, pool: keyed}}
  - {{name: pinned, match: {{path: /pinned}}, pool: pinned}}
  - name: limited
    match: {{path: /limited}}
    pool: app
    rate_limit: [{{key: client-ip, rate: {rate}/s, burst: {burst}, shared: true}}]
  - {{name: rest, pool: app}}
pools:
  app: {{balance: least-request, balance_shared: on, backends: [{backends}]}}
  keyed: {{balance: maglev, hash: {{on: path}}, backends: [{backends}]}}
  pinned: {{sticky: {{cookie: pin, key_file: {folder}/key}}, backends: [{backends}]}}
'''


# ---- clients: run in their namespace, one process for each question ----

class Lost(Exception):
    """The connection ended, or did not come."""


class Connection:
    def __init__(self, host):
        self.host, self.reader, self.writer = host, None, None

    async def ask(self, path, cookie=None):
        try:
            return await asyncio.wait_for(self.exchange(path, cookie), 2)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            self.close()
            raise Lost(str(error) or type(error).__name__) from None

    async def exchange(self, path, cookie):
        if not self.writer:
            self.reader, self.writer = await asyncio.wait_for(
                asyncio.open_connection(self.host, 8080), 0.5)
        field = f'Cookie: {cookie}\r\n' if cookie else ''
        self.writer.write(f'GET {path} HTTP/1.1\r\nHost: weir\r\n{field}\r\n'.encode())
        head = (await self.reader.readuntil(b'\r\n\r\n')).decode().split('\r\n')
        fields = dict(line.lower().split(': ', 1) if not line.lower().startswith('set-cookie') else
                      ('set-cookie', line.split(': ', 1)[1]) for line in head[1:] if ': ' in line)
        body = await self.reader.readexactly(int(fields['content-length']))
        return int(head[0].split()[1]), fields, body.decode()

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


async def keep_asking(target, rows, done):
    """A line each 50 ms: what became of it and when."""
    connection = Connection(target)
    while not done.is_set():
        try:
            status, _, _ = await connection.ask('/')
        except Lost as lost:
            status = str(lost)
        rows.append((target, time.monotonic(), status))
        await asyncio.sleep(0.05)
    connection.close()


async def steady(targets, each):
    rows, done = [], asyncio.Event()
    tasks = [asyncio.create_task(keep_asking(t, rows, done)) for t in targets for _ in range(each)]
    print('ready', flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    done.set()
    await asyncio.gather(*tasks)
    return rows


async def limited(targets, rates, seconds):
    """200s at each target, how many were asked, and how many of these one count would let through."""
    begun, passed, odd, moments = time.monotonic(), [0] * len(targets), [], []
    asked = [0] * len(targets)

    async def one(i):
        connection, due = Connection(targets[i]), time.monotonic()
        while time.monotonic() < begun + seconds:
            sent = time.monotonic()
            status, _, _ = await connection.ask('/limited')
            moments.append((sent + time.monotonic()) / 2)
            asked[i] += 1
            passed[i] += status == 200
            if status not in (200, 429):
                odd.append(status)
            due += 1 / rates[i]
            await asyncio.sleep(max(0, due - time.monotonic()))
        connection.close()
    await asyncio.gather(*[one(i) for i in range(len(targets))])
    return {'passed': passed, 'asked': asked, 'right': one_count(moments), 'odd': odd}


def one_count(moments):
    """What a single weir lets through of requests at these moments."""
    n, ahead_of = 0, 0
    for at in sorted(moments):
        after = max(ahead_of, at) + 1 / RATE
        if after <= at + BURST / RATE + 1e-9:
            n, ahead_of = n + 1, after
    return n


async def agreement(targets):
    """The backend of each key, and of each pin that another node gave, by node."""
    connections = [Connection(t) for t in targets]
    keys = [[(await c.ask(f'/keyed/{k}'))[2] for c in connections] for k in range(60)]
    pins = []
    for i in range(12):
        _, fields, body = await connections[i % len(targets)].ask('/pinned')
        cookie = fields['set-cookie'].split(';')[0]
        pins.append([body] + [(await c.ask('/pinned', cookie))[2] for c in connections])
    for c in connections:
        c.close()
    return {'keys': keys, 'pins': pins}


# ---- the stage ----

def run(*words, check=True):
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if check and done.returncode:
        print(f"{' '.join(words)}: {done.stderr}", file=sys.stderr)
        done.check_returncode()
    return done.stdout


class Stage:
    """Namespaces on a bridge, and what runs in them; all of it goes with it."""

    def __init__(self, folder):
        self.folder, self.prefix = folder, f'weir{os.getpid()}'
        self.spaces, self.children = [], {}

    def build(self):
        self.add_space('hub', None)
        run('ip', '-n', self.space('hub'), 'link', 'add', 'name', 'bridge0', 'type', 'bridge')
        run('ip', '-n', self.space('hub'), 'link', 'set', 'bridge0', 'up')
        for name, ip in [*NODES.items(), ('redis', REDIS), ('app', APP), ('client', CLIENT)]:
            self.add_space(name, ip)

    def space(self, name):
        return f'{self.prefix}-{name}'

    def add_space(self, name, ip):
        run('ip', 'netns', 'add', self.space(name))
        self.spaces.append(name)
        run('ip', '-n', self.space(name), 'link', 'set', 'lo', 'up')
        if not ip:
            return
        run('ip', 'link', 'add', 'eth0', 'netns', self.space(name), 'type', 'veth', 'peer', 'name',
            f'v-{name}', 'netns', self.space('hub'))
        run('ip', '-n', self.space('hub'), 'link', 'set', f'v-{name}', 'master', 'bridge0', 'up')
        run('ip', '-n', self.space(name), 'address', 'add', f'{ip}/24', 'dev', 'eth0')
        run('ip', '-n', self.space(name), 'link', 'set', 'eth0', 'up')

    def start(self, name, space, *words, **kwargs):
        log = open(os.path.join(self.folder, f'{name}.log'), 'ab')
        child = subprocess.Popen(['ip', 'netns', 'exec', self.space(space), *words], stderr=log,
                                 stdout=kwargs.pop('stdout', log), text=True, **kwargs)
        log.close()
        self.children[name] = child
        return child

    def kill(self, name, number=signal.SIGKILL):
        child = self.children.pop(name)
        child.send_signal(number)
        child.wait(10)

    def client(self, *args):
        words = ['ip', 'netns', 'exec', self.space('client'), sys.executable, __file__, '--client',
                 *args]
        return json.loads(run(*words))

    def end(self):
        for name in list(self.children):
            self.kill(name)
        for name in self.spaces:
            run('ip', 'netns', 'del', self.space(name), check=False)


class Fleet:
    def __init__(self, stage):
        self.stage, self.failed = stage, False

    def claim(self, ok, sentence):
        print(('ok    ' if ok else 'FAIL  ') + sentence, flush=True)
        self.failed |= not ok

    def ctl(self, node, *words):
        sock = os.path.join(self.stage.folder, f'{node}.sock')
        return json.loads(run('ip', 'netns', 'exec', self.stage.space(node),
                              os.path.join(BIN, 'weirctl'), '-s', sock, '--json', *words))

    def wait(self, what, condition, seconds=10):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except (subprocess.CalledProcessError, ValueError, OSError):
                pass
            time.sleep(0.05)
        for name in sorted(self.stage.children):
            with open(os.path.join(self.stage.folder, f'{name}.log'), encoding='utf-8') as file:
                print(f'---- {name}', *file.readlines()[-15:], sep='\n', file=sys.stderr)
        raise SystemExit(f'scripts/fleet: after {seconds} s still not: {what}')

    # ---- start ----

    def start_redis(self):
        self.stage.start('redis', 'redis', 'redis-server', '--bind', REDIS, '--save', '',
                         '--protected-mode', 'no', '--dir', self.stage.folder)

    def start_node(self, name):
        folder = self.stage.folder
        path = os.path.join(folder, f'{name}.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(CONF.format(
                name=name, folder=folder, redis=REDIS, rate=RATE, burst=BURST,
                backends=', '.join(f'"{APP}:{port}"' for port in PORTS)))
        self.stage.start(name, name, os.path.join(BIN, 'weir'), '-c', path)

    def start_keepalived(self, name, priority):
        folder = self.stage.folder
        with open(os.path.join(ROOT, 'conf', 'keepalived.conf'), encoding='utf-8') as file:
            text = file.read().replace('priority 100', f'priority {priority}')
        path = os.path.join(folder, f'{name}-keepalived.conf')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        pids = [f'--{kind}={folder}/{name}-{kind}' for kind in ('pid', 'vrrp_pid')]
        self.stage.start(f'{name}-keepalived', name, 'keepalived', '--dont-fork', '--log-console',
                         '--vrrp', '-f', path, *pids)

    def start(self):
        with open(os.path.join(self.stage.folder, 'key'), 'w', encoding='utf-8') as file:
            file.write('00112233445566778899aabbccddeeff' * 2 + '\n')
        os.chmod(os.path.join(self.stage.folder, 'key'), 0o600)
        self.start_redis()
        for port in PORTS:
            self.stage.start(f'app-{port}', 'app', os.path.join(BIN, 'weir-app'), '--listen',
                             f'{APP}:{port}', '--name', f'app{port}', '--set', 'service=2ms')
        for name in NODES:
            self.start_node(name)
        self.wait('nodes are there', lambda: all(
            os.path.exists(os.path.join(self.stage.folder, f'{n}.sock')) for n in NODES))
        self.wait('nodes know each other', self.know_each_other)
        for priority, name in zip((150, 100, 50), NODES):
            self.start_keepalived(name, priority)
        self.wait('the first node has the address', lambda: self.holders() == 'a')

    def know_each_other(self, others=2):
        return all(len(self.ctl(n, 'nodes')['others']) == others for n in NODES
                   if n in self.stage.children)

    def holders(self):
        def has_it(name):
            return f'{SHARED}/' in run('ip', '-n', self.stage.space(name), '-br', 'address', 'show',
                                       'up', 'dev', 'eth0')
        return ''.join(name for name in NODES if has_it(name))

    def problems(self, node):
        return [p for p in self.ctl(node, 'status')['problems'] if 'shared' in p]

    # ---- what is to be seen ----

    def check_agreement(self, nodes='abc', n_backends=len(PORTS) - 1):
        said = self.stage.client('agreement', json.dumps([NODES[n] for n in nodes]))
        self.claim(all(len(set(row)) == 1 for row in said['keys']) and
                   len({row[0] for row in said['keys']}) == n_backends,
                   f"{len(said['keys'])} keys lead to the same backend at {' '.join(nodes)}")
        self.claim(all(len(set(row)) == 1 for row in said['pins']),
                   f"{len(said['pins'])} pins lead to the same backend at {' '.join(nodes)}")

    def check_limit(self, nodes, rates, most, when, over=0):
        """Off by `most` at most; `over`: and so much more by who cannot know better."""
        for _ in range(4):
            time.sleep(BURST / RATE + 0.2)  # all of the burst is there again
            said = self.stage.client('limited', json.dumps([NODES[n] for n in nodes]),
                                     json.dumps(rates), '3')
            if sum(said['asked']) > 0.7 * 3 * sum(rates):
                break  # else those who ask had no processor: nothing was seen
        right = said['right']
        off = sum(said['passed']) / right - 1
        self.claim(-most < off < most + over and not said['odd'],
                   f"the limit {when}: {sum(said['passed'])} of {right} let through "
                   f"({off:+.1%}; by node {said['passed']} of {said['asked']})")

    def check_picture(self):
        pools = self.ctl('a', '--nodes', 'shared', 'pools')
        requests = sum(b['requests'] for p in pools['pools'] for b in p['backends'])
        self.claim(sorted(pools['fleet']['answered']) == sorted(NODES) and requests > 0,
                   f'weirctl --nodes shared: one picture of {len(NODES)} nodes, '
                   f'{requests} requests')

    def script(self):
        marks = {}
        time.sleep(1)
        self.check_agreement(n_backends=len(PORTS))
        self.check_limit('abc', [200, 200, 200], 0.1, 'over three nodes')
        self.check_limit('abc', [400, 60, 30], 0.1, 'when they have unlike load')
        self.check_picture()
        marks['backend'] = time.monotonic()
        self.stage.kill(f'app-{PORTS[0]}')
        time.sleep(2)
        marks['redis'] = time.monotonic()
        self.stage.kill('redis')
        time.sleep(1)
        self.check_limit('abc', [200, 200, 200], 0.1, 'without Redis, a third each')
        problems = self.ctl('a', 'status')['problems']
        self.claim(any('1/3' in p for p in problems), 'that it is so is among the problems')
        self.start_redis()
        self.wait('nodes know each other again', self.know_each_other, 15)
        self.lose_redis()
        self.lose_all(marks)
        marks['node'] = time.monotonic()
        run('ip', '-n', self.stage.space('hub'), 'link', 'set', 'v-a', 'down')
        self.stage.kill('a')
        self.stage.kill('a-keepalived')
        time.sleep(4.8)
        marks['end'] = time.monotonic()
        self.claim(self.holders().endswith('b'), 'the next node has the address')
        return marks

    def lose_redis(self):
        """c has no way to Redis, and everything else."""
        route = ['ip', '-n', self.stage.space('c'), 'route']
        run(*route, 'add', 'blackhole', f'{REDIS}/32')
        self.wait('c says that it is alone', lambda: any('1/3' in p for p in self.problems('c')))
        self.check_agreement()
        self.check_limit('abc', [200, 200, 200], 0.1,
                         'when one of three cannot reach Redis, and adds its third', over=1 / 3)
        run(*route, 'del', 'blackhole', f'{REDIS}/32')
        self.wait('c shares again', lambda: not self.problems('c') and self.know_each_other(), 15)
        self.check_limit('abc', [200, 200, 200], 0.1, 'once it can again')

    def lose_all(self, marks):
        """a, which has the address, reaches nobody; its link is up, and it knows nothing of it."""
        link = ['ip', '-n', self.stage.space('hub'), 'link', 'set', 'v-a']
        marks['cut'] = time.monotonic()
        run(*link, 'nomaster')
        self.wait('another node takes the address', lambda: self.holders() == 'ab', 5)
        self.check_agreement('bc')
        self.check_limit('bc', [300, 300], 0.1, 'of the two that are left')
        marks['healed'] = time.monotonic()
        run(*link, 'master', 'bridge0')
        self.wait('one has the address again', lambda: self.holders() == 'a')
        self.wait('all know each other again', self.know_each_other, 15)
        self.check_agreement()
        self.check_limit('abc', [200, 200, 200], 0.1, 'of all three again')
        marks['joined'] = time.monotonic()

    def judge_cut(self, rows, marks):
        """What was lost while a was cut off; the rest of the rows."""
        during = [row for row in rows if marks['cut'] <= row[1] <= marks['joined']]
        lost = {target: [at for t, at, what in during if t == target and what != 200]
                for target in [*NODES.values(), SHARED]}
        back = [at for t, at, what in during
                if t == SHARED and what == 200 and at > marks['cut'] + 0.3]
        moved = min(back) - marks['cut'] if back else 99
        before = len([at for at in lost[SHARED] if at < marks['healed']])
        self.claim(not lost[NODES['b']] and not lost[NODES['c']],
                   "a node that has the address is cut off: "
                   f"{len(lost[NODES['b']] + lost[NODES['c']])} requests at the others lost")
        self.claim(moved < 5, f"the address moves within {moved:.1f} s; {before} questions found the "
                   f"lost node, {len(lost[NODES['a']])} that node's own address")
        # a never knew that it had lost the address: whoever asks has to hear that it is a's again
        late = max([at - marks['healed'] for at in lost[SHARED]] + [0])
        self.claim(late < 5, f'it goes back within {late:.1f} s: '
                   f'{len(lost[SHARED]) - before} questions more')
        return [row for row in rows if not marks['cut'] <= row[1] <= marks['joined']]

    def judge(self, rows, marks):
        rows = self.judge_cut(rows, marks)
        lost = [(target, at, what) for target, at, what in rows if what != 200]
        strange = [row for row in lost if row[0] in (NODES['b'], NODES['c'])]
        early = [row for row in lost if row[1] < marks['node'] - 0.01]
        self.claim(not early, f'a backend and Redis die: {len(early)} of {len(rows)} requests '
                   f'lost {early[:3] if early else ""}')
        self.claim(not strange, f'a node dies: {len(strange)} requests at the others lost '
                   f'{strange[:3] if strange else ""}')
        back = [at for target, at, what in rows
                if target == SHARED and what == 200 and at > marks['node'] + 0.3]
        moved = min(back) - marks['node'] if back else 99
        self.claim(moved < 5, f'the address moves within {moved:.1f} s; {len(lost)} questions '
                   'found the dead node')

    def check(self):
        self.start()
        targets = json.dumps([*NODES.values(), SHARED])
        load = self.stage.start('load', 'client', sys.executable, __file__, '--client', 'steady',
                                targets, '10', stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        load.stdout.readline()
        marks = self.script()
        said, _ = load.communicate('\n', timeout=20)
        del self.stage.children['load']
        self.judge(json.loads(said), marks)


def client(what, *args):
    jobs = {'steady': lambda targets, each: steady(json.loads(targets), int(each)),
            'limited': lambda targets, rates, seconds:
                limited(json.loads(targets), json.loads(rates), float(seconds)),
            'agreement': lambda targets: agreement(json.loads(targets))}
    print(json.dumps(asyncio.run(jobs[what](*args))))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', required=True, help='run it all, judge')
    parser.parse_args()
    if os.geteuid():
        sys.exit('scripts/fleet: network namespaces need root')
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='weir-fleet-') as folder:
        stage = Stage(folder)
        fleet = Fleet(stage)
        try:
            stage.build()
            fleet.check()
        finally:
            stage.end()
    print(f'{time.monotonic() - begun:.0f} s')
    sys.exit(1 if fleet.failed else 0)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--client']:
        client(*sys.argv[2:])
    else:
        main()
