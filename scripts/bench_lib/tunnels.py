# SPDX-License-Identifier: MIT
"""Tunnels of HTTP/1.1: a server that echoes, and a client that waits for its echo; processes of their own.

usage: tunnels.py echo                     prints {"ports": [PORT]}, then serves until it is stopped
       tunnels.py load PORT SECONDS SIZE   prints {"n": messages that came back, "span": seconds}
"""
import json
import select
import socket
import sys
import time

TUNNELS = 32
HEAD_END = b'\r\n\r\n'


def no_delay(s):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def echo():
    server, poll, heads, peers = socket.create_server(('127.0.0.1', 0)), select.epoll(), {}, {}
    print(json.dumps({'ports': [server.getsockname()[1]]}), flush=True)
    poll.register(server.fileno(), select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == server.fileno():
                s = no_delay(server.accept()[0])
                peers[s.fileno()], heads[s.fileno()] = s, b''
                poll.register(s.fileno(), select.EPOLLIN)
                continue
            try:
                data = peers[fd].recv(65536)
            except OSError:
                data = b''
            if not data:
                poll.unregister(fd)
                peers.pop(fd).close()
                heads.pop(fd, None)
            elif fd not in heads:
                peers[fd].sendall(data)
            elif HEAD_END in (head := heads.pop(fd) + data):
                peers[fd].sendall(b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n'
                                  b'Upgrade: echo\r\n\r\n')
            else:
                heads[fd] = head


def open_tunnel(port):
    s = no_delay(socket.create_connection(('127.0.0.1', port), timeout=20))
    s.sendall(b'GET /tunnel HTTP/1.1\r\nHost: bench.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    head = b''
    while HEAD_END not in head:
        more = s.recv(4096)
        if not more:
            break
        head += more
    if not head.startswith(b'HTTP/1.1 101'):
        sys.exit(f'no tunnel: {head[:60]}')
    return s


def load(port, seconds, size):
    poll, tunnels, n, message = select.epoll(), {}, 0, b'm' * size
    for _ in range(TUNNELS):
        s = open_tunnel(port)
        tunnels[s.fileno()] = [s, 0]
        poll.register(s.fileno(), select.EPOLLIN)
    begin = time.monotonic()
    for s, _ in tunnels.values():
        s.sendall(message)
    while time.monotonic() < begin + seconds:
        for fd, _ in poll.poll(1):
            tunnel = tunnels[fd]
            data = tunnel[0].recv(65536)
            if not data:
                sys.exit('a tunnel ended')
            tunnel[1] += len(data)
            if tunnel[1] >= size:
                tunnel[1] -= size
                tunnel[0].sendall(message)
                n += 1
    print(json.dumps({'n': n, 'span': time.monotonic() - begin}))


if __name__ == '__main__':
    if sys.argv[1] == 'echo':
        echo()
    load(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
