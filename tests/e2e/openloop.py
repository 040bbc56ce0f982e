# SPDX-License-Identifier: MIT
"""Load that does not wait for answers: requests go out at their scheduled times, and latency
counts from there.  One thread, many kept connections, everything counted."""
import asyncio
import threading
import time
from collections import Counter


class Load:
    """with Load(port, rate=200) as load: ...; load.statuses, load.failed, load.latencies"""

    def __init__(self, port, rate, headers="", method="GET", target="/", timeout=60):
        self.port, self.rate, self.timeout = port, rate, timeout
        self.request = (f"{method} {target} HTTP/1.1\r\nHost: weir.test\r\n{headers}\r\n").encode()
        self.statuses = Counter()
        self.failed = []          # what never got a whole answer
        self.rows = []            # (scheduled, seconds, status, x-app)
        self.idle = []
        self.busy = 0             # connections with a request under way
        self.stopping = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping = True
        self.thread.join()

    def wait_for(self, n, timeout=60):
        """Until n answers have come."""
        deadline = time.monotonic() + timeout
        while len(self.rows) < n and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.rows) >= n, (len(self.rows), n)

    async def run(self):
        tasks = set()
        start, n, rate = time.monotonic(), 0, self.rate
        while not self.stopping:
            if rate != self.rate:  # changed while it runs
                start, n, rate = time.monotonic(), 0, self.rate
            due = start + n / rate
            wait = due - time.monotonic()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self.one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            n += 1
        await asyncio.gather(*tasks)
        for _, writer in self.idle:
            writer.close()

    async def one(self, due):
        try:
            async with asyncio.timeout(self.timeout):
                status, app = await self.ask()
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            self.failed.append((due, repr(error)))
            return
        self.statuses[status] += 1
        self.rows.append((due, time.monotonic() - due, status, app))

    async def ask(self):
        pair = self.idle.pop() if self.idle else \
            await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = pair
        self.busy += 1
        try:
            return await self.exchange(pair, reader, writer)
        finally:
            self.busy -= 1

    async def exchange(self, pair, reader, writer):
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
        lines = head.split("\r\n")
        fields = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:] if x)}
        await reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection", "").lower() == "close":
            writer.close()
        else:
            self.idle.append(pair)
        return int(lines[0].split()[1]), fields.get("x-app")

    def quantile(self, q, since=0, until=float("inf"), status=200):
        times = sorted(t for at, t, s, _ in self.rows if since <= at <= until and s == status)
        return times[min(len(times) - 1, int(q * len(times)))] if times else None

    def count(self, since=0, until=float("inf"), status=200):
        """Answers that came in between."""
        return sum(since <= at + t <= until and s == status for at, t, s, _ in self.rows)


class Closed(Load):
    """The same by n clients that each wait for their answer before they ask again."""

    def __init__(self, port, n, **more):
        super().__init__(port, rate=0, **more)
        self.n = n

    async def run(self):
        await asyncio.gather(*(self.client() for _ in range(self.n)))
        for _, writer in self.idle:
            writer.close()

    async def client(self):
        while not self.stopping:
            await self.one(time.monotonic())
