"""gunicorn's settings, from the environment variables of docker-registry 0.x and from config.yml.

`gunicorn.conf.py` at the top of the repository calls `settings(os.environ)`, so the server is the same
however gunicorn is started.

docs/configuration.md#server lists the variables. Tests compare that table with this module.
"""

from __future__ import annotations

import os
import resource
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from v1registry.config.errors import YAML_ERRORS
from v1registry.config.variables import is_service_link

_PORT = 5000
_MOST_WORKERS = 4

# A connection needs its socket and, during a transfer, one file. The worker itself needs the others.
_FILES_PER_CONNECTION = 2
_OWN_FILES = 128

_LEVELS = {"warn": "warning", "fatal": "critical", "notset": "debug"}


#: An option that the documentation of 0.x recommended because of its search database. It is ignored:
#: our workers do not need it. An application that the master builds, before gevent's patches, would
#: have locks that block a whole worker instead of one request.
PRELOAD = "--preload"


class SettingsError(ValueError):
    """An invalid environment variable; the text names it and gives the reason."""


def settings(environ: Mapping[str, str], config: Any = None) -> dict[str, Any]:
    """Return the names and values of gunicorn's settings for `environ`.

    `config` is our configuration; by default it is loaded with `load_config`.

    :raises SettingsError: a variable is invalid; and the errors of `load_config`.
    """
    if config is None:
        from v1registry.config import load_config

        config = load_config(environ=environ)
    connections = _integer(environ, "GUNICORN_WORKER_CONNECTIONS", 2000, low=1, high=100_000)
    address_connections(environ, connections)
    stall_timeout(environ)
    extra_options(environ)
    found: dict[str, Any] = {
        "wsgi_app": "wsgi:application",
        "proc_name": "v1registry",
        "bind": _bind(environ),
        "backlog": _integer(environ, "GUNICORN_BACKLOG", 2048, low=1, high=65535),
        "workers": _integer(environ, "GUNICORN_WORKERS", default_workers(), low=1, high=1024),
        "worker_class": "v1registry.server.worker.Worker",
        "worker_connections": min(connections, connections_within(_open_files()[1])),
        "max_requests": _integer(environ, "GUNICORN_MAX_REQUESTS", 0),
        # Workers that started together must not end together.
        "max_requests_jitter": _integer(environ, "GUNICORN_MAX_REQUESTS", 0) // 10,
        # The event loop sends the heartbeat however long a transfer takes, so a missing heartbeat
        # means that the worker is stuck in one system call. 5 minutes are enough for a bad disk.
        "timeout": _integer(environ, "GUNICORN_SILENT_TIMEOUT", 300),
        "graceful_timeout": _integer(environ, "GUNICORN_GRACEFUL_TIMEOUT", 3600),
        "keepalive": _integer(environ, "GUNICORN_KEEPALIVE", 75),
        "accesslog": environ.get("GUNICORN_ACCESS_LOG_FILE") or "-",
        "errorlog": environ.get("GUNICORN_ERROR_LOG_FILE") or "-",
        "loglevel": _level(config),
        "post_worker_init": _start_periodic_tasks,
        "worker_exit": _end_periodic_tasks,
        "logger_class": f"v1registry.server.log.{_logger(config)}",
        # Only the configured proxies: gunicorn's default would trust every client on loopback.
        "forwarded_allow_ips": ",".join(str(proxy) for proxy in config.trusted_proxies or ()),
        # The control socket needs a home directory, which a container may not have.
        "control_socket_disable": True,
        # Always the same parser, whatever is installed.
        "http_parser": "python",
        "on_starting": raise_open_files,
    }
    if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
        # On a disk the heartbeat would wait for other writes.
        found["worker_tmp_dir"] = "/dev/shm"
    found.update(_identity(environ))
    found.update(_tls(config))
    if config.v2.port:
        found["bind"] = [found["bind"], _bind_v2(environ, config.v2.port)]
    return found


def address_connections(environ: Mapping[str, str], connections: int) -> int:
    """Return how many of a worker's `connections` one client address may hold.

    :raises SettingsError: GUNICORN_ADDRESS_CONNECTIONS is not a whole number above 0.
    """
    half = max(1, connections // 2)
    return _integer(environ, "GUNICORN_ADDRESS_CONNECTIONS", half, low=1)


def stall_timeout(environ: Mapping[str, str]) -> float:
    """Return the seconds after which the connection of a stalled client is closed.

    :raises SettingsError: GUNICORN_STALL_TIMEOUT is not a number from 0.1 to 86400.
    """
    name = "GUNICORN_STALL_TIMEOUT"
    text = environ.get(name) or "60"
    try:
        seconds = float(text)
    except ValueError:
        raise SettingsError(f"{name}: {text!r} is not a number of seconds") from None
    if not 0.1 <= seconds <= 86400:
        raise SettingsError(f"{name}: {text} is not between 0.1 and 86400 seconds")
    return seconds


def extra_options(environ: Mapping[str, str]) -> list[str]:
    """Return the further command-line options for gunicorn in GUNICORN_OPTS, except `PRELOAD`.

    :raises SettingsError: GUNICORN_OPTS is not a YAML list of strings and numbers.
    """
    text = environ.get("GUNICORN_OPTS") or ""
    if not text.strip():
        return []
    try:
        options = yaml.safe_load(text)
    except YAML_ERRORS as error:
        raise SettingsError(f"GUNICORN_OPTS: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(options, list) or not all(isinstance(o, str | int) for o in options):
        raise SettingsError("GUNICORN_OPTS: must be a YAML list, as in [--threads, 4]")
    return [str(option) for option in options if option != PRELOAD]


def default_workers() -> int:
    """Return one worker per core: at least 2 (a disk may block one), at most 4 (memory)."""
    return max(2, min(_MOST_WORKERS, len(os.sched_getaffinity(0))))


def connections_within(files: int) -> int:
    """Return how many connections a worker can serve with `files` open files."""
    if files == resource.RLIM_INFINITY:
        return 1_000_000
    return max(1, (files - _OWN_FILES) // _FILES_PER_CONNECTION)


def raise_open_files(server: Any) -> None:
    """Raise the soft limit of open files to what the connections of gunicorn's `server` need.

    Log a warning if the hard limit is too low for the configured connections.
    """
    connections = server.cfg.worker_connections
    need = connections * _FILES_PER_CONNECTION + _OWN_FILES
    soft, hard = _open_files()
    if soft != resource.RLIM_INFINITY and soft < need:
        most = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    wanted = _integer(os.environ, "GUNICORN_WORKER_CONNECTIONS", 2000, low=1, high=100_000)
    if connections < wanted:
        server.log.warning(
            "At most %d open files are allowed, enough for %d connections per process instead of"
            " %d: raise the hard limit (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)",
            hard,
            connections,
            wanted,
        )


def tls_context(conf: Any, default_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """gunicorn's hook `ssl_context`: return its own context, which then requires TLS 1.2."""
    context = default_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _open_files() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _start_periodic_tasks(worker: Any) -> None:
    from v1registry.server import periodic_tasks  # in the worker only: commands need no gevent

    periodic_tasks.start(worker)


def page_url(environ: Mapping[str, str], config: Any) -> str | None:
    """Return the URL of the pages on this machine; None if they are off or on a Unix socket."""
    host = _host(environ)
    if not config.web.enabled or host.startswith("unix:"):
        return None
    scheme = "https" if config.tls.certificate else "http"
    shown = "localhost" if host in ("0.0.0.0", "::", "[::]") else host
    return f"{scheme}://{_address(shown, _port(environ))}{environ.get('SCRIPT_NAME', '')}/ui/"


def _end_periodic_tasks(_server: Any, worker: Any) -> None:
    from v1registry.server import periodic_tasks

    periodic_tasks.end(worker)


def _bind(environ: Mapping[str, str]) -> str:
    host = _host(environ)
    return host if host.startswith("unix:") else _address(host, _port(environ))


def _host(environ: Mapping[str, str]) -> str:
    """Return REGISTRY_HOST, or REGISTRY_ADDRESS, its name in the RPM package of 0.x."""
    host, address = environ.get("REGISTRY_HOST"), environ.get("REGISTRY_ADDRESS")
    if host and address and host != address:
        raise SettingsError(
            f"REGISTRY_ADDRESS: {address} differs from REGISTRY_HOST ({host}): set one of them"
        )
    return host or address or "0.0.0.0"


def _port(environ: Mapping[str, str]) -> int:
    if is_service_link("REGISTRY_PORT", environ.get("REGISTRY_PORT", "")):
        return _PORT  # reported by the warnings of the configuration
    return _integer(environ, "REGISTRY_PORT", _PORT, high=65535)


def _bind_v2(environ: Mapping[str, str], port: int) -> str:
    """Return the address for v2 only: the host of v1, or all interfaces if v1 uses a Unix socket."""
    host = _host(environ)
    if port > 65535 or port == _port(environ):
        raise SettingsError(f"v2.port: {port} is not a valid port, or equals REGISTRY_PORT")
    return _address("0.0.0.0" if host.startswith("unix:") else host, port)


def _address(host: str, port: int) -> str:
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{port}"


def _integer(
    environ: Mapping[str, str], name: str, default: int, low: int = 0, high: int = 10**7
) -> int:
    text = environ.get(name) or ""
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{name}: {text!r} is not a whole number")
    value = int(text[:20])
    if not low <= value <= high:
        raise SettingsError(f"{name}: {value} is not between {low} and {high}")
    return value


def _level(config: Any) -> str:
    level = str(config.loglevel or "info").lower()
    return _LEVELS.get(level, level)


def _logger(config: Any) -> str:
    return "JSONLogger" if config.log_format == "json" else "PlainLogger"


def _identity(environ: Mapping[str, str]) -> dict[str, str]:
    # As in 0.x: only root can change the user and group.
    if os.geteuid() != 0:
        return {}
    named = {"user": environ.get("GUNICORN_USER"), "group": environ.get("GUNICORN_GROUP")}
    return {name: value for name, value in named.items() if value}


def _tls(config: Any) -> dict[str, Any]:
    if not config.tls.certificate:
        return {}
    from v1registry.config.certificates import is_readable

    for name, file in (("certificate", config.tls.certificate), ("key", config.tls.key)):
        if file and not is_readable(file):
            raise SettingsError(f"tls.{name}: this user may not read {file}")
    return {
        "certfile": str(config.tls.certificate),
        "keyfile": str(config.tls.key) if config.tls.key else None,
        "ssl_context": tls_context,
    }
