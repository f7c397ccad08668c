"""Ray's configuration of HAProxy, hardened; and the program that Ray starts in HAProxy's place to do it.

Ray writes `haproxy.cfg` anew before each start of HAProxy, and starts the program that
`RAY_SERVE_HAPROXY_BINARY_PATH` names. That is a script of ours (`launcher`), which runs this file, which
rewrites the configuration and becomes HAProxy: the process and its arguments are those that Ray started. A
configuration in which a line that has to change is missing, as another release of Ray may write it, isn't
started at all.

HAProxy starts anew with each change of an app, so this file imports nothing that takes time to load, and
nothing of this package: it runs without site-packages (`python -IS`).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_BODY = 64 * 2**20
"""The longest body of a request, in bytes. HAProxy itself limits a request's head to 15 KiB."""
REQUEST_SECONDS = 10
"""How long a request's head, and the first 15 KiB of its body, may take to arrive."""
IDLE_SECONDS = 60
"""How long a client may send nothing: within a body, or between requests."""
WAIT_SECONDS = 10
"""How long a request waits where no replica is ready."""
PROBLEM = "haproxy.problem"
"""The file beside the launcher that says why HAProxy wasn't started."""

UNAVAILABLE = "unavailable.http"
"""The file beside the launcher with the answer for requests that waited in vain."""

_FALLBACK = "-fallback"

# that of callers would change how Ray routes or ends a request
_RAYS_HEADERS = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "x-session-id",
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
)
_ERRORS = {
    400: ("BAD_REQUEST", "The request is malformed."),
    408: ("BAD_REQUEST", f"The request didn't arrive within {REQUEST_SECONDS} seconds."),
    413: ("RESOURCE_LIMIT_EXCEEDED", "The request's body is longer than {max_body} bytes."),
    500: ("INTERNAL_ERROR", "The endpoint failed to answer."),
    502: ("TEMPORARILY_UNAVAILABLE", "The replica ended before it had answered."),
    503: ("TEMPORARILY_UNAVAILABLE", "No replica of the endpoint can answer at the moment."),
    504: ("TEMPORARILY_UNAVAILABLE", "The replica didn't answer in time."),
}


class UnknownConfigurationError(Exception):
    """Ray's configuration isn't the one that is hardened here."""


def harden(
    config: str,
    *,
    unavailable: str = UNAVAILABLE,
    max_body: int = MAX_BODY,
    listen: str = "",
    certificate: str = "",
) -> str:
    """Ray's `haproxy.cfg` with limits, without listeners beside the data port, and without what tells about
    endpoints. `unavailable`: a file with the whole answer for requests that waited in vain. `listen`: an
    address and port for TLS beside the data port; `certificate`: a PEM file with its key.

    UnknownConfigurationError where Ray's configuration isn't as expected.
    """
    lines: list[str] = []
    changes = set()
    section = ""
    # backends with Ray's own proxy behind them
    fallbacks = {
        section.split()[0]: server
        for section in config.split("\nbackend ")[1:]
        for server in section.splitlines()
        if server.split()[:1] == ["server"] and server.endswith(" backup")
    }
    for line in config.splitlines():
        words = line.split()
        if words and not line[0].isspace():
            section = " ".join(words[:2])
        if section in ("frontend prometheus", "listen stats"):
            # both answer everybody, on every interface; Ray itself uses the admin socket
            changes.add(section)
            continue
        match section, words:
            case "global", ["log", *_]:
                # a datagram for each request, to whatever program takes port 514
                continue
            case "global", ["stats", "socket", _, "mode", "666", *_]:
                changes.add("admin socket")
                line = line.replace("mode 666", "mode 600")
            case "defaults", ["mode", "http"]:
                changes.add("defaults")
                lines += [line, *_defaults(max_body)]
                continue
            case "defaults", ["errorfile" | "timeout", "502" | "503" | "504" | "http-request", *_]:
                continue
            case "frontend http_frontend", ["bind", _]:
                changes.add("bind")
                lines.append(f"{line} proto h1")
                if listen:
                    lines.append(f"    bind {listen} ssl crt {certificate} ssl-min-ver TLSv1.2 alpn http/1.1")
                lines += _frontend(max_body)
                continue
            case "backend default_backend", ["http-request", "return", *_]:
                changes.add("unknown path")
                lines += _unknown_path("\n    use_backend " in config)
                continue
            case _, ["log" | "option", "global" | "httplog"]:
                continue
            case "frontend http_frontend", ["use_backend", name, "if", condition] if name in fallbacks:
                lines.append(f"    use_backend {name}{_FALLBACK} if {condition} {{ nbsrv({name}) eq 0 }}")
            case _, ["server", *_, "backup"]:
                # requests wait there for a replica without end: below, with an end
                continue
            case _, ["bind" | "listen" | "frontend" | "stats", *_]:
                if line.split("#")[0].strip() not in _KNOWN and words[:2] != ["stats", "timeout"]:
                    raise UnknownConfigurationError(f"unexpected line: {line.strip()}")
        lines.append(line)
    for name, server in fallbacks.items():
        lines += _fallback(name, server.removesuffix(" backup"), unavailable)
    if missing := _CHANGES - changes:
        raise UnknownConfigurationError(f"missing: {', '.join(sorted(missing))}")
    return "\n".join(lines) + "\n"


_KNOWN = ("frontend http_frontend",)
_CHANGES = {
    *("frontend prometheus", "listen stats", "admin socket"),
    *("defaults", "bind", "unknown path"),
}


def _defaults(max_body: int) -> Iterable[str]:
    yield f"    timeout http-request {REQUEST_SECONDS}s"
    for status, (code, message) in _ERRORS.items():
        body = _json(_error(code, message.format(max_body=max_body)))
        yield f"    http-error status {status} {body}{' hdr Retry-After 1' if status == 503 else ''}"


def _frontend(max_body: int) -> Iterable[str]:
    code, message = _ERRORS[413]
    too_long = _json(_error(code, message.format(max_body=max_body)))
    not_found = _json(_detail("Not Found"))
    upgrade = _json(_error("BAD_REQUEST", "Endpoints don't speak WebSocket."))
    yield f"    http-request return status 413 {too_long} if {{ req.hdr_val(content-length) gt {max_body} }}"
    yield f"    http-request return status 404 {not_found} if {{ path_beg -i /-/ }} !{{ path /-/healthz }}"
    yield f"    http-request return status 400 {upgrade} if {{ req.hdr(upgrade) -i websocket }}"
    # here and not by `option http-buffer-request`, which would wait before the rules above
    yield f"    http-request wait-for-body time {REQUEST_SECONDS}s if METH_POST"
    # others, such as `h2c`, may be ignored
    yield "    http-request del-header upgrade"
    for name in _RAYS_HEADERS:
        yield f"    http-request del-header {name}"
    yield "    http-request del-header x-serve-router- -m beg"


def _unknown_path(knows_endpoints: bool) -> Iterable[str]:
    """Right after its start HAProxy knows no endpoint: not now, and no 404."""
    if not knows_endpoints:
        answer = f"status 503 {_json(_error(*_ERRORS[503]))} hdr Retry-After 1"
        yield f"    http-request return {answer} if {{ path_beg /serving-endpoints/ }}"
    yield f"    http-request return status 404 {_json(_detail('Not Found'))}"


def _fallback(name: str, server: str, unavailable: str) -> Iterable[str]:
    """Where requests go while no replica is ready: for moments in an update, or until one is replaced."""
    yield f"backend {name}{_FALLBACK}"
    yield f"    timeout server {WAIT_SECONDS}s"
    yield f"    errorfile 504 {unavailable}"
    yield server


def _error(code: str, message: str) -> str:
    return f'{{"error_code": "{code}", "message": "{message}"}}'


def _detail(text: str) -> str:
    return f'{{"detail": "{text}"}}'


def _json(body: str) -> str:
    """A constant body in HAProxy's syntax."""
    escaped = body.replace("\\", "\\\\").replace('"', '\\"')
    return f'content-type application/json string "{escaped}"'


def write_launcher(
    directory: Path, binary: str, *, max_body: int = MAX_BODY, tls: tuple[str, Path, Path] | None = None
) -> Path:
    """The program in `directory` that hardens Ray's configuration and becomes the HAProxy at `binary`.

    `tls`: the address and port to listen on, the files of the certificate and of its key. They are read anew
    at each start of HAProxy: with each change of an app.
    """
    from shlex import quote

    path = directory / "haproxy"
    body = _error(*_ERRORS[503])
    head = f"Content-Type: application/json\r\nRetry-After: 1\r\nContent-Length: {len(body)}"
    (directory / UNAVAILABLE).write_bytes(
        f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n\r\n{body}".encode()
    )
    listen, certificate = "", directory / "cert.pem"
    if tls is not None:
        listen, own, key = tls
        certificate.symlink_to(own.resolve())
        certificate.with_name("cert.pem.key").symlink_to(key.resolve())
    arguments = [sys.executable, "-IS", __file__, str(directory), binary, str(max_body), listen]
    path.write_text(f'#!/bin/sh\nexec {" ".join(map(quote, arguments))} "$@"\n')
    path.chmod(0o700)
    return path


def take_certificate(directory: str) -> str:
    """The file with the certificate and its key, taken from the links in `directory`.

    While those can't be used, as in the middle of a renewal, it stays the last one that could: without one
    HAProxy doesn't start, neither for TLS nor for the data port.
    """
    import ssl

    link, kept = os.path.join(directory, "cert.pem"), os.path.join(directory, "kept.pem")
    partial = f"{kept}.{os.getpid()}"
    try:
        with open(partial, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
            for path in (link, f"{link}.key"):
                with open(path) as source:
                    f.write(f"{source.read()}\n")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(partial, password="")
        os.replace(partial, kept)
    except (OSError, ValueError) as e:
        if os.path.exists(partial):
            os.unlink(partial)
        print(f"The TLS certificate can't be used, the one before stays: {e}", file=sys.stderr)
    return kept


def main(arguments: list[str]) -> None:
    """Harden the configuration that follows `-f`, and become HAProxy with the arguments that Ray gave."""
    directory, binary, max_body, listen, *given = arguments
    certificate = take_certificate(directory) if listen else ""
    path = given[given.index("-f") + 1]
    try:
        with open(path) as f:
            text = harden(
                f.read(),
                unavailable=os.path.join(directory, UNAVAILABLE),
                max_body=int(max_body),
                listen=listen,
                certificate=certificate,
            )
    except UnknownConfigurationError as e:
        message = f"lac doesn't know how to harden this release's HAProxy configuration; {e}"
        with open(os.path.join(directory, PROBLEM), "w") as f:
            f.write(message)
        sys.exit(message)
    with open(f"{path}.partial", "w") as f:
        f.write(text)
    os.replace(f"{path}.partial", path)
    os.execv(binary, [binary, *given])


if __name__ == "__main__":
    main(sys.argv[1:])
