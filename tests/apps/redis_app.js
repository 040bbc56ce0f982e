// SPDX-License-Identifier: MIT
// An app server whose requests need a lock that all instances share, kept in Redis: N permits in a
// list, taken with BLPOP, given back with LPUSH.  Each instance serves `workers` requests at once;
// a request works for `service` ms of its own and for `shared` ms while it holds a permit, both
// exponentially distributed.  Time passes on timers, so hardly any CPU is used.
//
//   node redis_app.js --redis PORT --instances 8 --workers 4 --service 10 --shared 4 --permits 2
//
// Prints {"pid": N, "ports": [...]} when it is ready.
'use strict';
const http = require('http');
const net = require('net');

const args = {};
for (let i = 2; i < process.argv.length; i += 2) args[process.argv[i].slice(2)] = Number(process.argv[i + 1]);
const draw = mean => -mean * Math.log(1 - Math.random());

// One connection that speaks RESP: commands in order, answers in order.
class Redis {
  constructor(port) {
    this.waiting = [];
    this.bytes = '';
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.setEncoding('latin1');
    this.socket.on('data', data => this.read(data));
    this.socket.on('error', error => { console.error(`redis: ${error.message}`); process.exit(1); });
  }
  ask(...words) {
    this.socket.write(`*${words.length}\r\n` + words.map(w => `$${String(w).length}\r\n${w}\r\n`).join(''));
    return new Promise(resolve => this.waiting.push(resolve));
  }
  read(data) {
    this.bytes += data;
    for (let end; (end = this.answerEnd(0)) > 0;) {
      const answer = this.bytes.slice(0, end);
      this.bytes = this.bytes.slice(end);
      if (answer[0] === '-') { console.error(`redis: ${answer.trim()}`); process.exit(1); }
      this.waiting.shift()(answer);
    }
  }
  // Where the answer that begins at `at` ends; 0: it is not all there.
  answerEnd(at) {
    const line = this.bytes.indexOf('\r\n', at);
    if (line < 0) return 0;
    const n = Number(this.bytes.slice(at + 1, line));
    if (this.bytes[at] === '$') {
      const end = line + 2 + (n < 0 ? 0 : n + 2);
      return end <= this.bytes.length ? end : 0;
    }
    if (this.bytes[at] !== '*') return line + 2;
    let end = line + 2;
    for (let i = 0; i < n && end; i++) end = this.answerEnd(end);
    return end;
  }
}

function instance(name, give) {
  const free = [];
  const queue = [];
  for (let i = 0; i < args.workers; i++) free.push(new Redis(args.redis));
  const serve = (redis, res) => {
    setTimeout(async () => {
      await redis.ask('BLPOP', 'permits', 0);
      setTimeout(() => {
        give.ask('LPUSH', 'permits', 1);
        res.setHeader('Content-Length', 3);
        res.end('ok\n');
        let next = queue.shift();
        while (next && next.destroyed) next = queue.shift(); // who waited has gone
        if (next) serve(redis, next); else free.push(redis);
      }, draw(args.shared));
    }, draw(args.service));
  };
  const server = http.createServer((req, res) => {
    req.resume();
    res.setHeader('X-App', name);
    if (free.length) serve(free.pop(), res); else queue.push(res);
  });
  server.keepAliveTimeout = 60000;
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

async function main() {
  const give = new Redis(args.redis);
  await give.ask('DEL', 'permits');
  for (let i = 0; i < args.permits; i++) await give.ask('LPUSH', 'permits', 1);
  const ports = [];
  for (let i = 0; i < args.instances; i++) ports.push(await instance(`redis-${i}`, give));
  console.log(JSON.stringify({pid: process.pid, ports}));
}
process.on('SIGTERM', () => process.exit(0));
main();
