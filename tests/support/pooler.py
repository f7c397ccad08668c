"""PostgreSQL as if through a pooler: a proxy that gives each session a process number of its own making.

PgBouncer 1.18 does the same: by that number it finds the session that a cancellation is meant for.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from sqlalchemy.engine import make_url


@contextmanager
def pooled(url: str) -> Iterator[str]:
    """The URL of the same database through the proxy, which ends with the block."""
    parsed = make_url(url)
    directory, port = str(parsed.query["host"]), parsed.port or 5432
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(f"{directory}/.s.PGSQL.{port}")
                    for ends in ((client, server), (server, client)):
                        threading.Thread(target=_pass_on, args=ends, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        proxy = parsed.set(host="127.0.0.1", port=listener.getsockname()[1], query={})
        yield proxy.update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False)
        listener.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with closing(sink), suppress(OSError):
        while data := source.recv(65536):
            # BackendKeyData of 12 bytes: the process number, then the secret
            # https://www.postgresql.org/docs/current/protocol-message-formats.html
            head, key, rest = data.partition(b"K\0\0\0\x0c")
            sink.sendall(head + key + b"\x7f" + rest[1:] if key and rest[8:9] == b"Z" else data)
        sink.shutdown(socket.SHUT_WR)
