# SPDX-License-Identifier: MIT
"""The contenders: one function each, from a setup to command line and files.

The same work for all: connections kept on both sides, X-Forwarded-For added, request bodies
streamed, no access log unless the setup wants one, the same number of workers, the same cipher.
"""
from .procs import program

KEEP = 300  # seconds that idle connections are kept, longer than any measurement
CIPHER = 'TLS_AES_128_GCM_SHA256'
LIMIT = 200000  # requests a second of an address, more than there are


def setup(ports, **changed):
    """What a proxy is to do; `ports` are the backends'.  `both`: plain HTTP, TLS one port above.
    `does`: what it does beside proxying, a key of WEIR_DOES."""
    base = dict(ports=ports, routes=0, workers=1, tls=None, both=False, log=False, connections=4096,
                strategy=None, pool_size=4096, does='', h2_behind=False)
    assert set(changed) <= set(base), changed
    return base | changed


# ---- weir ----

GZIP_LEVEL = 5  # that of weir
WEIR_DOES = {
    'limit': f'rate_limit: [{{rate: {LIMIT}/s}}]',
    'auth': 'auth: {forward: {pool: app, path: /bytes/0, timeout: 10s}}',
    'gzip': 'compress: {algorithms: [gzip], types: [application/json]}',
}

def weir(s, port, scratch):
    tls, limits = '', (f'    timeouts: {{keepalive: {KEEP}s}}\n'
                       f'    limits: {{connections: {s["connections"] + 100}}}\n')
    if s['tls']:
        tls = f'    tls: {{certificates: [{{cert: {s["tls"]["pem"]}, key: {s["tls"]["key"]}}}]}}\n'
    if s['both']:
        tls = f'  - bind: 127.0.0.1:{port + 1}\n{limits}{tls}'
    routes = ''.join(f'  - {{match: {{path: /r{i}/}}, pool: app}}\n' for i in range(s['routes']))
    if s['does']:
        routes = f'  - {{pool: app, {WEIR_DOES[s["does"]]}}}\n'
    text = (f'workers: {s["workers"]}\nstatus: {{socket: {scratch}/weir.sock}}\n'
            + (f'log: {{access: {{path: {scratch}/access.log, format: json}}}}\n' if s['log'] else '')
            + f'listeners:\n  - bind: 127.0.0.1:{port}\n{limits}{tls}'
            + (f'routes:\n{routes}' if routes else '')
            + f'pools:\n  app:\n    keepalive: {{idle: {KEEP}s, max_idle: {s["pool_size"]}}}\n'
            + ('    protocol: h2\n' if s['h2_behind'] else '')
            + (f'    balance: {s["strategy"]}\n' if s['strategy'] else '')
            + '    backends:\n' + ''.join(f'      - 127.0.0.1:{p}\n' for p in s['ports']))
    return [program('weir'), '-c', f'{scratch}/weir.yaml'], {'weir.yaml': text}


def weir_bare(s, port, scratch):
    """weir with the recording of its statistics compiled out."""
    argv, files = weir(s, port, scratch)
    return [program('weir-bare'), *argv[1:]], files


# ---- nginx ----

NGINX_PROXY = ('proxy_pass http://app; proxy_http_version 1.1;'
               ' proxy_set_header Connection $wanted; proxy_set_header Upgrade $http_upgrade;'
               ' proxy_set_header Host $http_host;'
               ' proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;')


# Of the server, and of http.
NGINX_DOES = {
    '': ('', ''),
    'limit': (f'limit_req zone=all burst={LIMIT} nodelay;',
              f'limit_req_zone $binary_remote_addr zone=all:10m rate={LIMIT}r/s;'),
    'auth': ('auth_request /_auth; location = /_auth { internal; proxy_pass http://app/bytes/0;'
             ' proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off;'
             ' proxy_set_header Content-Length ""; proxy_set_header X-Forwarded-Uri $request_uri; }', ''),
    'gzip': (f'gzip on; gzip_comp_level {GZIP_LEVEL}; gzip_types application/json; gzip_proxied any;',
             ''),
}


def nginx_listen(s, port):
    plain = f'listen 127.0.0.1:{port} backlog=4096;'
    if not s['tls']:
        return plain
    if s['both']:
        return plain + nginx_listen(s | dict(both=False), port + 1)
    return (f'listen 127.0.0.1:{port} ssl http2 backlog=4096; ssl_protocols TLSv1.3;'
            f' ssl_certificate {s["tls"]["pem"]}; ssl_certificate_key {s["tls"]["key"]};'
            f' ssl_conf_command Ciphersuites {CIPHER};'
            f' ssl_session_cache shared:bench:10m;')


def nginx(s, port, scratch):
    where = ''.join(f'location /r{i}/ {{ {NGINX_PROXY} }}\n' for i in range(s['routes']))
    temp = ''.join(f'{kind}_temp_path {scratch}/{kind};\n'
                   for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
    log = f'{scratch}/access.log combined' if s['log'] else 'off'
    strategy = {None: 'least_conn;', 'round robin': ''}.get(s['strategy'], f'{s["strategy"]};')
    # workers share their counts of requests in flight only through a zone
    zone = 'zone app 8m; ' if s['workers'] > 1 else ''
    does, beside = NGINX_DOES[s['does']]
    text = f'''daemon off; worker_processes {s["workers"]}; pid {scratch}/nginx.pid;
error_log stderr warn; worker_rlimit_nofile {2 * s["connections"] + 1000};
events {{ worker_connections {2 * s["connections"] + 100}; }}
http {{ access_log {log}; server_tokens off; keepalive_timeout {KEEP}s;
keepalive_requests 1000000000; tcp_nodelay on; {temp}
map $http_upgrade $wanted {{ default upgrade; '' ''; }} client_max_body_size 0; {beside}
upstream app {{ {zone}{strategy} {''.join(f"server 127.0.0.1:{p};" for p in s['ports'])}
keepalive {s["pool_size"]}; keepalive_requests 1000000000; keepalive_timeout {KEEP}s; }}
server {{ {nginx_listen(s, port)} {does}
proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_max_temp_file_size 0;
proxy_request_buffering off; client_body_buffer_size 32k;
{where or f'location / {{ {NGINX_PROXY} }}'} }} }}
'''
    argv = [program('nginx'), '-p', scratch, '-e', 'stderr', '-c', f'{scratch}/nginx.conf']
    return argv, {'nginx.conf': text}


# ---- haproxy ----

HAPROXY_LIMIT = f'''    stick-table type ip size 100k expire 30s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {LIMIT} }}'''


def haproxy(s, port, scratch):
    rule, files, bind = 'default_backend app', {}, f'bind 127.0.0.1:{port} backlog 4096'
    if s['routes']:
        files['routes.map'] = ''.join(f'/r{i}/ app\n' for i in range(s['routes']))
        rule = f'use_backend %[path,map_beg({scratch}/routes.map)]'
    if s['both']:
        bind += f'\n    bind 127.0.0.1:{port + 1} backlog 4096'
    if s['tls']:
        bind += f' ssl crt {s["tls"]["both"]} alpn h2,http/1.1 ssl-min-ver TLSv1.3'
        bind += f' ciphersuites {CIPHER}'
    log = '    log stdout format raw local0 info\n    option httplog' if s['log'] else ''
    limit = HAPROXY_LIMIT if s['does'] == 'limit' else ''
    proto = ' proto h2' if s['h2_behind'] else ''
    servers = ''.join(f'    server s{i} 127.0.0.1:{p}{proto}\n' for i, p in enumerate(s['ports']))
    files['haproxy.cfg'] = f'''global
    nbthread {s["workers"]}
    maxconn {s["connections"]}
    ssl-server-verify none
defaults
    mode http
    timeout connect 5s
    timeout client {KEEP}s
    timeout server {KEEP}s
    timeout tunnel {KEEP}s
    timeout http-keep-alive {KEEP}s
    option forwardfor
    http-reuse always
frontend web
    maxconn {s["connections"]}
{log}
{limit}
    {bind}
    {rule}
backend app
    balance {s["strategy"] or 'leastconn'}
{servers}'''
    return [program('haproxy'), '-db', '-f', f'{scratch}/haproxy.cfg'], files


# ---- nghttpx: HTTP/2 only ----

def nghttpx(s, port, scratch):
    argv = [program('nghttpx'), f'--conf={scratch}/nghttpx.conf', f'--frontend=127.0.0.1,{port}',
            f'--workers={s["workers"]}', '--add-x-forwarded-for', '--no-ocsp', '--no-via',
            f'--tls13-ciphers={CIPHER}', '--tls-min-proto-version=TLSv1.3',
            '--accesslog-file=/dev/null', '--errorlog-file=/dev/stderr',
            f'--backend-keep-alive-timeout={KEEP}s']
    proto = 'h2' if s['h2_behind'] else 'http/1.1'
    argv += [f'--backend=127.0.0.1,{p};;proto={proto}' for p in s['ports']]
    return [*argv, s['tls']['key'], s['tls']['pem']], {'nghttpx.conf': ''}


PEERS = {'weir': weir, 'nginx': nginx, 'haproxy': haproxy, 'nghttpx': nghttpx,
         'weir-bare': weir_bare, 'weir-unread': weir}
