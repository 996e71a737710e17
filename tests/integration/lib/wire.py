"""The wire by hand (messages/frame.hpp, cluster.proto): to send what no honest client or peer
would.
"""
import socket
import struct

MAGIC = b"BLX1"
HELLO, RAFT, COMMAND, PLANNED, QUERY, LOCAL, ANSWER, LEASE, LEASE_GRANT, ADMIN = range(1, 11)
CRITICAL, HIGH, NORMAL, LOW = range(4)
CLIENT, PEER = 0, 1
MAIN, BULK = 0, 1
MAX_FRAME = 8 << 20


def header(
    kind, length, cls=NORMAL, deadline_ms=5000, request=1, target=0, version=1, flags=0, magic=MAGIC
):
    return magic + struct.pack(
        "<BBBBIIQQ", version, kind, cls, flags, length, deadline_ms, request, target
    )


def frame(kind, body=b"", **more):
    return header(kind, len(body), **more) + body


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    """A field of a Protobuf message: an int as varint, bytes length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def hello(role=CLIENT, channel=MAIN, cluster=0, node=0, expected=0):
    body = (
        field(1, role)
        + field(2, channel)
        + fixed64(3, cluster)
        + field(4, node)
        + field(5, expected)
    )
    return frame(HELLO, body, cls=CRITICAL, deadline_ms=0, request=0)


def kv_put(key, value):
    return field(3, 0) + field(10, field(1, key) + field(2, value))


def kv_get(key, stale=False):
    return field(1, int(stale)) + field(10, field(1, key))


def fields(message):
    """{number: last value} of a Protobuf message."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            found[key >> 3] = number()
        elif key & 7 == 1:
            found[key >> 3], at = message[at : at + 8], at + 8
        elif key & 7 == 2:
            size = number()
            found[key >> 3], at = message[at : at + size], at + size
        else:
            raise AssertionError(f"wire type {key & 7}")
    return found


class Wire:
    """A raw connection to a node."""

    def __init__(self, node, greeting=None, timeout=30):
        host, port = node.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        if greeting is not None:
            self.send(greeting)
            self.greeting = self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all; a connection that the node has closed meanwhile is no error."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not part:
                return None
            data += part
        return data

    def receive(self):
        """(kind, request id, fields of the body) of the next frame; None: the node closed."""
        head = self._exactly(32)
        if head is None:
            return None
        _, kind, _, _, length, _, request, _ = struct.unpack("<BBBBIIQQ", head[4:])
        body = self._exactly(length)
        return None if body is None else (kind, request, fields(body))

    def is_closed_by_node(self):
        """Reads until the node has closed; socket.timeout if it does not."""
        while self.receive() is not None:
            pass
        return True

    def end(self):
        """Ends the stream and reads until the node has closed: it has read all that was sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return True  # it has closed already
        return self.is_closed_by_node()

    def vanish(self):
        """Resets the connection: the peer is gone without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
