// SPDX-License-Identifier: MIT
// A real node http server for the demo and the end-to-end tests.
// usage: node node_app.js [--port N] [--name NAME] [--root DIR]
// Paths: / (the name), /bytes/N, /chunked/N (with trailers), /echo (JSON of what
// was received), /file?path=P (below DIR); Upgrade: websocket is an echo server,
// any other Upgrade token a byte echo.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');

const option = (name, fallback) => {
  const at = process.argv.indexOf('--' + name);
  return at > 0 && process.argv[at + 1] !== undefined ? process.argv[at + 1] : fallback;
};
const name = option('name', 'node');
const root = path.resolve(option('root', '.'));

// The bytes of pattern.h: SHA-256 of counters, cut to a prime length.
const PERIOD = 1048573;
const pattern = (() => {
  const blocks = [];
  for (let i = 0; i * 32 < PERIOD; i++) {
    const counter = Buffer.alloc(8);
    counter.writeUInt32BE(i, 4);
    blocks.push(crypto.createHash('sha256').update(counter).digest());
  }
  return Buffer.concat(blocks).subarray(0, PERIOD);
})();

function* patternBytes(size) {
  for (let at = 0; at < size;) {
    const from = at % PERIOD;
    const piece = pattern.subarray(from, from + Math.min(size - at, 65536));
    at += piece.length;
    yield piece;
  }
}

function sendBytes(res, size, done) {
  const pieces = patternBytes(size);
  const more = () => {
    for (;;) {
      const { value, done: ended } = pieces.next();
      if (ended) return done();
      if (!res.write(value)) return res.once('drain', more);
    }
  };
  more();
}

function echo(req, res) {
  const hash = crypto.createHash('sha256');
  let length = 0;
  req.on('data', (piece) => { length += piece.length; hash.update(piece); });
  req.on('end', () => {
    const headers = [];
    for (let i = 0; i < req.rawHeaders.length; i += 2) headers.push(req.rawHeaders.slice(i, i + 2));
    const body = JSON.stringify({
      instance: name, method: req.method, target: req.url, version: 'HTTP/' + req.httpVersion,
      headers, body_length: length, body_sha256: hash.digest('hex'), trailers: req.rawTrailers,
    });
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
    res.end(body);
  });
}

function sendFile(url, res) {
  const file = path.resolve(root, '.' + path.sep + (url.searchParams.get('path') || ''));
  if (file !== root && !file.startsWith(root + path.sep)) return notFound(res);
  fs.stat(file, (err, stat) => {
    if (err || !stat.isFile()) return notFound(res);
    res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': stat.size });
    fs.createReadStream(file).pipe(res);
  });
}

function notFound(res) {
  res.writeHead(404, { 'Content-Type': 'text/plain' });
  res.end('not found\n');
}

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://' + (req.headers.host || 'localhost'));
  const [, kind, argument] = url.pathname.split('/');
  res.setHeader('X-App', name);
  if (kind === 'bytes') {
    res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': Number(argument) });
    if (req.method === 'HEAD') return res.end();
    return sendBytes(res, Number(argument), () => res.end());
  }
  if (kind === 'chunked') {
    res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Trailer': 'X-App-Bytes' });
    return sendBytes(res, Number(argument), () => {
      res.addTrailers({ 'X-App-Bytes': argument });
      res.end();
    });
  }
  if (kind === 'echo') return echo(req, res);
  if (kind === 'file') return sendFile(url, res);
  res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': name.length + 1 });
  return res.end(name + '\n');
});

// ---- upgrades ----

// One unmasked frame (RFC 6455 5.2).
function frame(head, payload) {
  const length = payload.length;
  const start = length < 126 ? Buffer.from([head, length])
    : length < 65536 ? Buffer.from([head, 126, length >> 8, length & 255])
      : Buffer.concat([Buffer.from([head, 127]), (() => {
        const size = Buffer.alloc(8);
        size.writeBigUInt64BE(BigInt(length));
        return size;
      })()]);
  return Buffer.concat([start, payload]);
}

// Takes whole frames off the buffer: [opcode byte, payload][] and the rest.
function readFrames(buffer) {
  const frames = [];
  for (;;) {
    if (buffer.length < 2) break;
    let length = buffer[1] & 127;
    let at = 2;
    if (length === 126) { if (buffer.length < 4) break; length = buffer.readUInt16BE(2); at = 4; }
    else if (length === 127) { if (buffer.length < 10) break; length = Number(buffer.readBigUInt64BE(2)); at = 10; }
    if (buffer.length < at + 4 + length) break;
    const mask = buffer.subarray(at, at + 4);
    const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length));
    for (let i = 0; i < payload.length; i++) payload[i] ^= mask[i & 3];
    frames.push([buffer[0], payload]);
    buffer = buffer.subarray(at + 4 + length);
  }
  return [frames, buffer];
}

function websocketEcho(socket, rest) {
  const feed = (data) => {
    const [frames, left] = readFrames(rest.length ? Buffer.concat([rest, data]) : data);
    rest = left;
    for (const [head, payload] of frames) {
      const opcode = head & 15;
      const answer = opcode === 9 ? 0x8a : head; // a ping gets a pong
      if (opcode === 10) continue;
      if (!socket.write(frame(answer, payload))) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
      if (opcode === 8) socket.end();
    }
  };
  socket.on('data', feed);
  if (rest.length) feed(Buffer.alloc(0));
}

server.on('upgrade', (req, socket, head) => {
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade',
    'Upgrade: ' + req.headers.upgrade, 'X-App: ' + name];
  const key = req.headers['sec-websocket-key'];
  socket.on('error', () => socket.destroy());
  socket.setNoDelay(true);
  if (req.headers.upgrade.toLowerCase() === 'websocket' && key) {
    lines.push('Sec-WebSocket-Accept: ' + crypto.createHash('sha1')
      .update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64'));
    socket.write(lines.join('\r\n') + '\r\n\r\n');
    return websocketEcho(socket, head);
  }
  socket.write(lines.join('\r\n') + '\r\n\r\n');
  socket.write(head);
  return socket.pipe(socket);
});

server.keepAliveTimeout = Number(option('keepalive-ms', '60000'));
server.listen(Number(option('port', '0')), option('host', '127.0.0.1'), () => {
  console.log(JSON.stringify({ pid: process.pid, ports: [server.address().port] }));
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
