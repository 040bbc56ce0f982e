# SPDX-License-Identifier: MIT
"""HTTP/2 on the wire: frames by hand (hyperframe, hpack), nothing automatic."""
import socket
import struct
import subprocess

from hpack import Decoder, Encoder
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame,
                              PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

from wire import SLOW, TIMEOUT

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "weir.test"), (":path", "/")]
NO_ERROR, PROTOCOL, INTERNAL, FLOW, CLOSED, SIZE = 0, 1, 2, 3, 5, 6
REFUSED, CANCEL, COMPRESSION, CALM = 7, 8, 9, 11


def post(length=None, path="/"):
    fields = [(":method", "POST"), *GET[1:3], (":path", path)]
    return fields + ([("content-length", str(length))] if length is not None else [])


def raw(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def curl(daemon, *args, path="/"):
    done = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "--max-time", "20", *args,
                           f"http://127.0.0.1:{daemon.port}{path}"], capture_output=True,
                          timeout=30 * SLOW, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


class Stream:
    def __init__(self):
        self.heads = []
        self.body = b""
        self.trailers = None
        self.ended = False
        self.reset = None

    @property
    def status(self):
        finals = [dict(head)[":status"] for head in self.heads if dict(head)[":status"] >= "200"]
        return int(finals[-1]) if finals else None

    def get(self, name):
        return dict(self.heads[-1]).get(name)


class H2:
    """A connection; frames are sent as told and taken as they come."""

    def __init__(self, port, preface=True, settings=None, windows=True, rcvbuf=None):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.windows = windows
        self.encoder, self.decoder = Encoder(), Decoder()
        self.buf = b""
        self.streams = {}
        self.goaways = []
        self.settings = {}
        self.acks = 0
        self.pongs = 0
        self.updates = {}
        self.closed = False
        self.block = None
        if preface:
            self.send(PREFACE + self.settings_frame(settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    @staticmethod
    def settings_frame(settings=None):
        return SettingsFrame(0, settings=settings or {}).serialize()

    def send(self, data):
        self.sock.sendall(data)

    def frame(self, frame):
        self.send(frame.serialize())

    # ---- writing ----

    def headers(self, stream, fields=GET, end=True, end_headers=True):
        flags = (["END_STREAM"] if end else []) + (["END_HEADERS"] if end_headers else [])
        return HeadersFrame(stream, self.encoder.encode(fields), flags=flags).serialize()

    @staticmethod
    def data(stream, data, end=False):
        return DataFrame(stream, data, flags=["END_STREAM"] if end else []).serialize()

    @staticmethod
    def reset(stream, code=CANCEL):
        return RstStreamFrame(stream, error_code=code).serialize()

    @staticmethod
    def window(stream, n):
        return WindowUpdateFrame(stream, window_increment=n).serialize()

    @staticmethod
    def ping(data=b"12345678", ack=False):
        return PingFrame(0, data, flags=["ACK"] if ack else []).serialize()

    def request(self, stream, fields=GET, body=None):
        if body is None:
            self.send(self.headers(stream, fields))
        else:
            self.send(self.headers(stream, fields, end=False) + self.data(stream, body, True))

    # ---- reading ----

    def fill(self):
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError:
            got = b""
        self.closed |= not got
        self.buf += got
        return bool(got)

    def next_frame(self):
        """One frame, already taken account of; None at the end of the connection."""
        while len(self.buf) < 9 or len(self.buf) < 9 + int.from_bytes(self.buf[:3], "big"):
            if not self.fill():
                return None
        frame, length = Frame.parse_frame_header(memoryview(self.buf[:9]))
        assert length <= 16384, "a frame larger than we allow"
        frame.parse_body(memoryview(self.buf[9:9 + length]))
        self.buf = self.buf[9 + length:]
        self.take(frame)
        return frame

    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def take(self, frame):
        stream = self.stream(frame.stream_id)
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            if isinstance(frame, HeadersFrame):
                assert self.block is None
                self.block, self.ends = b"", "END_STREAM" in frame.flags
            self.block += frame.data
            if "END_HEADERS" in frame.flags:
                fields = [(n, v) for n, v in self.decoder.decode(self.block)]
                self.block = None
                if fields and fields[0][0] == ":status":
                    stream.heads.append(fields)
                else:
                    stream.trailers = fields
                stream.ended |= self.ends
        elif isinstance(frame, DataFrame):
            stream.body += frame.data
            stream.ended |= "END_STREAM" in frame.flags
            if self.windows and frame.flow_controlled_length:
                n = frame.flow_controlled_length
                self.send(self.window(0, n) + (b"" if stream.ended else
                                               self.window(frame.stream_id, n)))
        elif isinstance(frame, RstStreamFrame):
            stream.reset = frame.error_code
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append((frame.last_stream_id, frame.error_code))
        elif isinstance(frame, SettingsFrame):
            if "ACK" in frame.flags:
                self.acks += 1
            else:
                self.settings.update(frame.settings)
                self.send(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
            self.pongs += 1
        elif isinstance(frame, WindowUpdateFrame):
            self.updates[frame.stream_id] = self.updates.get(frame.stream_id, 0) + \
                frame.window_increment

    def until(self, condition):
        while not condition():
            if self.next_frame() is None:
                raise AssertionError(f"the connection ended: {self.goaways}")

    def response(self, number):
        """The stream, once it has ended or was reset."""
        self.until(lambda: self.stream(number).ended or self.stream(number).reset is not None)
        return self.stream(number)

    def ask(self, number, fields=GET, body=None):
        self.request(number, fields, body)
        return self.response(number)

    def end(self):
        """Reads to the end of the connection; the code of the last GOAWAY."""
        try:
            while self.next_frame() is not None:
                pass
        except ConnectionError:  # of what is sent in answer
            self.closed = True
        return self.goaways[-1][1] if self.goaways else None
