# SPDX-License-Identifier: MIT
"""A shop behind weir, with what a site needs in front of it; started by scripts/demo site.

Two node servers and a gunicorn are the shop, an authority made on the spot signs its certificate.
Each need is a few lines of the configuration (build/demo-site/weir.yaml), and shown by one curl and
its answer: plain HTTP goes to HTTPS, clients keep their app server, WebSockets too, guessing is
limited, a place asks for a password, answers are compressed, and what fails has a page of its own.
Then it goes on running until Ctrl-C or for the time given with --for.  With --check each answer is
compared with what it must be, and the exit status is 1 when one is not.

Everything is on 127.0.0.1, on ports that were free; files and logs are in build/demo-site.
"""
import base64
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time

import demo
from demo import Checks, Failure, heading, nearest

demo.OUT = os.path.join(demo.ROOT, 'build', 'demo-site')
HOST = 'shop.test'
USER, PASSWORD = 'ann', 'open-sesame'
LINES_MAX = 16  # of an answer
PATIENCE = 30

CONF = '''# written by scripts/demo site
workers: 2
status: {{socket: {socket}}}
listeners:
  - name: http
    bind: 127.0.0.1:{port}
  - name: https
    bind: 127.0.0.1:{tls_port}
    tls: {{certificates: [{{cert: shop.pem, key: shop.key}}]}}
    errors: {{5xx: {{file: sorry.html}}}}
routes:
  - name: to-https
    match: {{scheme: http}}
    redirect: {{to: "https://{{host}}:{tls_port}{{uri}}"}}
  - name: login
    match: {{path: /login}}
    rate_limit: [{{key: client-ip, rate: 1/m, burst: 3}}]
    pool: shop
  - name: admin
    match: {{path: /admin}}
    auth: {{basic: {{file: users, realm: the shop}}}}
    pool: shop
  - name: catalogue
    match: {{path: /catalogue}}
    compress: {{types: [application/json]}}
    pool: catalogue
  - name: live
    match: {{path: /live}}
    timeouts: {{tunnel: 2s}}  # 1h in earnest; here curl is to end by itself
    pool: shop
  - name: reports
    match: {{path: /reports}}
    pool: reports
  - name: shop
    pool: shop
pools:
  shop:
    backends: [{shop}]
    sticky: {{cookie: SHOP}}
  catalogue:
    backends: [{catalogue}]
  reports:
    backends: [127.0.0.1:{nobody}]  # where nobody listens
'''
SORRY = '''<!doctype html>
<title>The shop is closed for a moment</title>
<h1>Sorry: {status} {reason}</h1>
<p>Please tell us this number if it lasts: {request_id}
'''


# ---- files ----

def path_of(name):
    return os.path.join(demo.OUT, name)


def write(name, text, mode=0o644):
    with open(path_of(name), 'w', encoding='utf-8') as out:
        out.write(text)
    os.chmod(path_of(name), mode)


def openssl(*args):
    done = subprocess.run(['openssl', *args], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, cwd=demo.OUT)
    if done.returncode != 0:
        raise Failure(f'openssl {args[0]}: {done.stderr.strip()}')
    return done.stdout.strip()


def make_certificates():
    """An authority of our own, and what it signs for the shop."""
    new = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30']
    openssl('req', '-x509', *new, '-subj', '/CN=authority of the demo', '-keyout', 'ca.key', '-out',
            'ca.pem')
    openssl('req', *new, '-subj', f'/CN={HOST}', '-keyout', 'shop.key', '-out', 'shop.csr')
    write('shop.ext', f'subjectAltName=DNS:{HOST}\n')
    openssl('x509', '-req', '-in', 'shop.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key',
            '-CAcreateserial', '-days', '30', '-extfile', 'shop.ext', '-out', 'shop.pem')


class Site:
    """The shop, and weir before it."""

    def __init__(self, processes):
        self.port, self.tls_port = demo.free_port(), demo.free_port()
        shop = demo.start_node(processes, 'node-0') + demo.start_node(processes, 'node-1')
        catalogue = demo.start_gunicorn(processes, 'python-0')
        make_certificates()
        write('users', f'{USER}:{openssl("passwd", "-6", PASSWORD)}\n', 0o600)
        write('sorry.html', SORRY)
        self.socket, self.scratch = demo.socket_in(demo.OUT)

        def inline(rows):
            return ', '.join(f'{{address: 127.0.0.1:{port}, name: {name}}}' for name, port in rows)
        write('weir.yaml', CONF.format(
            socket=self.socket, port=self.port, tls_port=self.tls_port, shop=inline(shop),
            catalogue=inline(catalogue), nobody=demo.free_port()))
        # what every curl needs to believe that the shop is here
        write('curlrc', ''.join(f'{line}\n' for line in (
            f'cacert = "{path_of("ca.pem")}"', 'silent', 'show-error', f'max-time = {PATIENCE}',
            f'resolve = "{HOST}:{self.port}:127.0.0.1"',
            f'resolve = "{HOST}:{self.tls_port}:127.0.0.1"')))
        self.child = processes.start('weir', [os.path.join(demo.BIN, 'weir'), '-c',
                                              path_of('weir.yaml')])
        demo.wait_for('weir', self.child, lambda: demo.answers(self.socket))

    def url(self, path):
        return f'https://{HOST}:{self.tls_port}{path}'

    def curl(self, *args):
        """Shown as one would type it, with its answer, which comes back."""
        argv = ['curl', '-K', nearest(path_of('curlrc')), *args]
        print(f'\n$ {" ".join(shlex.quote(arg) for arg in argv)}')
        done = subprocess.run(argv, capture_output=True, check=False, timeout=2 * PATIENCE,
                              stdin=subprocess.DEVNULL)
        said = done.stdout.decode(errors='replace').replace('\r\n', '\n')
        lines = (said + done.stderr.decode()).rstrip('\n').split('\n')
        for line in lines[:LINES_MAX]:
            print(f'  {line[:110]}{" ..." if len(line) > 110 else ""}')
        if len(lines) > LINES_MAX:
            print(f'  ... {len(lines) - LINES_MAX} lines more')
        return said

    def cleanup(self):
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


# ---- one need each: the curl, and what must be true of its answer ----

def redirect(site, checks):
    said = site.curl('-i', f'http://{HOST}:{site.port}/cart?article=7')
    checks.that('plain HTTP is sent to the same page over HTTPS', said.startswith('HTTP/1.1 308')
                and f'\nlocation: {site.url("/cart?article=7")}\n' in said.lower())


def tls(site, checks):
    said = site.curl('-w', '%{http_code} HTTP/%{http_version}, certificate verified:'
                     r' %{ssl_verify_result} (0 is yes)\n', site.url('/'))
    checks.that('HTTPS and HTTP/2, with a certificate of the shop\'s own authority',
                re.match(r'node-\d\n200 HTTP/2, certificate verified: 0 ', said) is not None)


def rate_limit(site, checks):
    said = site.curl('-o', '/dev/null', '-w',
                     r'%{http_code}, Retry-After: %header{retry-after}\n', site.url('/login?try=[1-8]'))
    codes = re.findall(r'^\d+', said, re.M)
    checks.that('who guesses passwords gets a few tries, then 429 and when to come back',
                len(codes) == 8 and codes[0] == '200' and codes[-1] == '429'
                and sorted(codes) == codes and re.search(r'429, Retry-After: \d+\n$', said) is not None,
                ' '.join(codes))


def password(site, checks):
    said = site.curl('-i', site.url('/admin'))
    checks.that('the office asks for a name and a password', said.startswith('HTTP/2 401')
                and '\nwww-authenticate: basic realm="the shop"' in said.lower())
    said = site.curl('-i', '-u', f'{USER}:{PASSWORD}', site.url('/admin'))
    checks.that('... and lets in who has them', said.startswith('HTTP/2 200'))


def compression(site, checks):
    sizes = [int(site.curl('-o', '/dev/null', *more, '-w', r'%{size_download}\n',
                           site.url('/catalogue'))) for more in ([], ['--compressed'])]
    checks.that('the catalogue is sent compressed to who takes it', sizes[1] * 4 < sizes[0],
                f'{sizes[1]} bytes, not {sizes[0]}')
    rows = subprocess.run(['curl', '-K', path_of('curlrc'), '--compressed', site.url('/catalogue')],
                          capture_output=True, check=False).stdout
    checks.that('... and is the same then', len(json.loads(rows or '[]')) == 500)


def own_page(site, checks):
    said = site.curl('-i', site.url('/reports'))
    checks.that('what fails has a page of the shop\'s own, with the request\'s number',
                re.match(r'HTTP/2 50[23]', said) is not None and '<h1>Sorry: 50' in said
                and re.search(r'if it lasts: [0-9a-f]{8,}', said) is not None)
    said = site.curl('-H', 'Accept: application/json', site.url('/reports'))
    checks.that('... and JSON for programs', '"status":50' in said.replace(' ', ''))


def sticky(site, checks):
    jar = nearest(path_of('cookies'))
    if os.path.exists(jar):
        os.remove(jar)
    said = site.curl('-c', jar, '-b', jar, site.url('/?page=[1-6]'))
    names = said.split()
    checks.that('a client keeps its app server', len(names) == 6 and len(set(names)) == 1,
                ' '.join(names))
    key = base64.b64encode(os.urandom(16)).decode()
    said = site.curl('-i', '--no-show-error', '--http1.1', '-b', jar, '-H', 'Connection: Upgrade', '-H',
                     'Upgrade: websocket', '-H', 'Sec-WebSocket-Version: 13', '-H',
                     f'Sec-WebSocket-Key: {key}', site.url('/live'))
    checks.that('... with its WebSockets', said.startswith('HTTP/1.1 101')
                and f'\nX-App: {names[0]}\n' in said)
    with open(jar, encoding='utf-8') as file:
        cookie = re.search(r'\tSHOP\t(\S+)', file.read())
    checks.equal('... through which messages go, and come back',
                 [echo_over_websocket(site, key, cookie[1] if cookie else '') for _ in range(3)],
                 [(names[0], b'a message')] * 3)


def echo_over_websocket(site, key, cookie):
    """Who answered, and what came back of a message."""
    context = ssl.create_default_context(cafile=path_of('ca.pem'))
    message = b'a message'
    with socket.create_connection(('127.0.0.1', site.tls_port), PATIENCE) as plain, \
            context.wrap_socket(plain, server_hostname=HOST) as s:
        s.sendall(f'GET /live HTTP/1.1\r\nHost: {HOST}:{site.tls_port}\r\nConnection: Upgrade\r\n'
                  f'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n'
                  f'Cookie: SHOP={cookie}\r\n\r\n'.encode())
        # masked with zeros (RFC 6455 5.3)
        s.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
        said = b''
        while message not in said and (piece := s.recv(4096)):
            said += piece
    name = re.search(rb'\r\nX-App: (\S+)\r\n', said)
    return name[1].decode() if name else None, said.rpartition(b'\r\n\r\n')[2][2:]


# ... and the key of the configuration that does it.
NEEDS = ((redirect, 'plain HTTP goes to HTTPS', 'redirect'), (tls, 'TLS', 'tls'),
         (sticky, 'clients keep their app server, over WebSockets too', 'sticky'),
         (rate_limit, 'guessing is limited: three tries, then one a minute', 'rate_limit'),
         (password, 'a place asks for a password', 'auth'),
         (compression, 'who takes compressed answers gets them: bytes, without and with it', 'compress'),
         (own_page, 'what fails has a page of its own', 'errors'))


def show_line(key):
    """That of the configuration which does it."""
    with open(path_of('weir.yaml'), encoding='utf-8') as conf:
        print(next(f'  weir.yaml: {line.strip()}' for line in conf if line.strip().startswith(key + ':')))


class Silent(Checks):
    """Without --check only what does not hold is said."""

    def that(self, claim, holds, detail=''):
        if not holds:
            super().that(claim, holds, detail)


def wait_for_the_user(site, seconds):
    heading('try')
    print(f'  curl -K {nearest(path_of("curlrc"))} {site.url("/")}')
    print(f'  {nearest(os.path.join(demo.BIN, "weirctl"))} -s {nearest(site.socket)} limits')
    print(f'\nrunning {f"for {seconds:g} s" if seconds else "until Ctrl-C"} ...', flush=True)
    end = time.monotonic() + seconds if seconds else None
    try:
        while end is None or time.monotonic() < end:
            if site.child.poll() is not None:
                raise Failure(f'weir ended with {site.child.returncode}, see {demo.log_of("weir")}')
            time.sleep(0.2)
    except KeyboardInterrupt:
        print()


def run(args, processes):
    heading('the shop')
    site = Site(processes)
    print(f'  {site.url("/")} and http://{HOST}:{site.port}/, with the authority'
          f' {nearest(path_of("ca.pem"))}\n  configuration: {nearest(path_of("weir.yaml"))}')
    checks = Checks() if args.check else Silent()
    try:
        for need, title, key in NEEDS:
            heading(title)
            show_line(key)
            need(site, checks)
        if not args.check:
            wait_for_the_user(site, args.seconds)
        checks.equal('exit status after TERM', demo.stop_weir(site), 0)
        checks.that('the ports are closed', not any(map(demo.is_open, (site.port, site.tls_port))))
    finally:
        site.cleanup()
    print(f'\n{"everything holds" if not checks.failed else f"{checks.failed} do not hold"}')
    return 1 if checks.failed else 0


if __name__ == '__main__':
    sys.exit(demo.main(run, 'scripts/demo site', __doc__))
