"""A network between nodes that can be cut: one proxy per pair and direction, which `--dial`
points at.

Each node dials its peers and sends on what it dialled, so the proxy of (a, b) carries what a says
to b. A cut link is silent (bytes wait, as when packets are lost); a healed one lets the waiting
bytes go or, with `reset`, has forgotten its connections.
"""
import selectors
import socket
import threading


class Link:
    """From one node to another: listens on a port of its own, passes bytes on unless it is cut."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.target = None  # HOST:PORT, set when the other node has started
        self.is_open = threading.Event()
        self.is_open.set()
        self.sockets, self.closed = [], False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self.is_open.wait()
        try:
            host, port = self.target.rsplit(":", 1)
            server = socket.create_connection((host, int(port)))
        except (OSError, AttributeError):
            client.close()
            return
        self.sockets += [client, server]
        with selectors.DefaultSelector() as wait, client, server:
            wait.register(client, selectors.EVENT_READ, server)
            wait.register(server, selectors.EVENT_READ, client)
            try:
                while True:
                    for key, _ in wait.select():
                        self.is_open.wait()
                        data = key.fileobj.recv(1 << 16)
                        if not data:
                            return
                        key.data.sendall(data)
            except (OSError, ValueError):
                return  # one side is gone: so is the other

    def cut(self):
        self.is_open.clear()

    def heal(self, reset=False):
        if reset:
            for s in self.sockets:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.sockets = []
        self.is_open.set()

    def close(self):
        self.closed = True
        self.listener.close()
        self.heal(reset=True)


class Network:
    """All links between the nodes 1 to n."""

    def __init__(self, size):
        numbers = range(1, size + 1)
        self.links = {(a, b): Link() for a in numbers for b in numbers if a != b}

    def flags_of(self, number):
        """What the node is to be started with."""
        return [
            word
            for (a, b), link in self.links.items()
            if a == number
            for word in ("--dial", f"{b}={link.address}")
        ]

    def connect(self, cluster):
        for (_, b), link in self.links.items():
            if b <= len(cluster.nodes) and cluster.node(b).ready:
                link.target = cluster.node(b).address

    def cut(self, *pairs):
        for pair in pairs:
            self.links[pair].cut()

    def isolate(self, number):
        self.cut(*(pair for pair in self.links if number in pair))

    def heal(self, reset=False):
        for link in self.links.values():
            link.heal(reset)

    def close(self):
        for link in self.links.values():
            link.close()
