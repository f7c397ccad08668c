"""Free TCP ports of this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from itertools import chain

from ...model.diagnostics import Diagnostic, LacError


def free_ports(*wishes: int, taken: Collection[int] = ()) -> list[int]:
    """One free TCP port for each wish, all different: the wish itself if it is free, otherwise another. A
    port in `taken` isn't free: its owner may not listen yet.

    Other ports are outside the kernel's ephemeral range, from which a connection could take one before Ray
    does. LacError `ray-start-failed` where none is free.
    """
    sockets: list[socket.socket] = []
    others = iter(random.sample(range(15_000, 30_000), 2_000))
    try:
        for port in wishes:
            candidates = (p for p in chain([port] if port else [], others) if p not in taken)
            free = next((s for candidate in candidates if (s := _listen(candidate))), None)
            if free is None:
                raise LacError(
                    Diagnostic("ray-start-failed", "the local Ray didn't start", "No TCP port is free.")
                )
            # open until all are bound, or the same port would be chosen twice
            sockets.append(free)
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _listen(port: int) -> socket.socket | None:
    """A socket on every interface, as some of Ray's listeners bind; None where another one listens. Closed
    connections of a former listener, which the kernel remembers for a minute, take no port."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("0.0.0.0", port))
        s.listen()
    except OSError:
        s.close()
        return None
    return s
