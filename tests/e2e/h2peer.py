# SPDX-License-Identifier: MIT
"""A scripted HTTP/2 backend on python3-h2: one H2Server runs one connection."""
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from wire import wait_for


class Request:
    def __init__(self, headers):
        self.headers = headers
        self.body = b""
        self.trailers = None
        self.ended = False
        self.reset = None

    def get(self, name):
        return dict(self.headers).get(name)


class H2Server:
    """Reads what weir sends; the script answers by calling the methods."""

    def __init__(self, peer, settings=None):
        self.peer = peer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()
        self.streams = {}
        self.goaway = None
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.peer.send(data)

    def turn(self):
        """Takes what comes next; False at the end of the connection."""
        if not self.peer.fill():
            return False
        data, self.peer.buf = self.peer.buf, b""
        for event in self.h2.receive_data(data):
            self.note(event)
        self.flush()
        return True

    def note(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            self.streams[event.stream_id] = Request(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset) and stream:
            stream.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code

    def until(self, condition):
        while not condition():
            if not self.turn():
                return False
        return True

    def request(self, stream_id=None):
        """The next whole request (or that of stream_id) as (id, Request)."""
        def found():
            return [i for i, r in self.streams.items()
                    if r.ended and (stream_id is None or i == stream_id)]
        if not self.until(found):
            return None, None
        return found()[0], self.streams[found()[0]]

    def requests(self):
        """All whole requests as (id, Request), until the connection ends; each is forgotten
        when the next one is asked for."""
        while (found := self.request())[0] is not None:
            yield found
            self.streams.pop(found[0], None)

    def head(self, stream_id, status=200, headers=(), end=False):
        self.h2.send_headers(stream_id, [(":status", str(status)), *headers], end_stream=end)
        self.flush()

    def data(self, stream_id, data, end=False):
        """As much at a time as the windows allow."""
        while data:
            room = min(self.h2.local_flow_control_window(stream_id),
                       self.h2.max_outbound_frame_size, len(data))
            if room == 0:
                if not self.turn():
                    return False
                continue
            self.h2.send_data(stream_id, data[:room], end_stream=end and room == len(data))
            data = data[room:]
            self.flush()
        return True

    def end(self, stream_id):
        self.h2.end_stream(stream_id)
        self.flush()

    def reset(self, stream_id, code):
        self.h2.reset_stream(stream_id, code)
        self.flush()

    def close(self, code=0, last=None):
        self.h2.close_connection(code, last_stream_id=last)
        self.flush()

    def until_end(self):
        """To the end of the connection, also past what the library refuses: a socket that is
        closed with bytes unread resets, and what was sent last may be lost on its way."""
        try:
            while self.turn():
                pass
        except OSError:
            pass
        except h2.exceptions.ProtocolError:
            self.peer.until_end()

    def answer(self, stream_id, body=b"ok\n", status=200, headers=()):
        self.head(stream_id, status, [("content-length", str(len(body))), *headers],
                  end=not body)
        if body:
            self.data(stream_id, body, end=True)
        self.streams.pop(stream_id)


def answering(seen=None):
    """A handler that answers every request with its body's length."""
    def handler(peer):
        server = H2Server(peer)
        for stream_id, req in server.requests():
            if seen is not None:
                seen.append(req)
            server.answer(stream_id, str(len(req.body)).encode())
    return handler


__all__ = ["H2Server", "Request", "answering", "wait_for"]
