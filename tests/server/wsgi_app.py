"""A small WSGI application that shows what the server does. The real gunicorn of the tests runs it."""

import contextlib
import hashlib
import json
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs

from v1registry.lib.errors import Failure
from v1registry.server import receive_direct
from v1registry.server.buffer_pool import SMALL_PIECE, BufferPool
from v1registry.server.receive import pieces
from v1registry.server.send import FileRange
from v1registry.server.thread_pool import run_in_thread

FILE = os.environ.get("SERVING_FILE", "")

# Before this module can have imported it.
SHARED = "v1registry.app" in sys.modules

# What stands in the way of a start, if a test put anything there.
OBSTACLE = Path(os.environ.get("SERVING_OBSTACLE", "/none"))
if OBSTACLE.exists():
    if OBSTACLE.read_text() == "exit":
        sys.exit(4)
    if OBSTACLE.read_text() == "exit otherwise":
        sys.exit(7)  # not one of gunicorn's own
    raise RuntimeError("cannot start")


def application(environ, start_response):
    query = {key: value[0] for key, value in parse_qs(environ["QUERY_STRING"]).items()}
    route = ROUTES.get(environ["PATH_INFO"].strip("/").split("/")[0])
    if route is None:
        raise KeyError("no such route")
    try:
        return route(environ, query, start_response)
    except Failure as failure:
        text = json.dumps({"error": failure.text})
        return answer(start_response, text, f"{failure.status} Failure")


def answer(start_response, text, status="200 OK"):
    body = text.encode()
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


def receive(environ, query, start_response):
    limit = int(query["limit"]) if "limit" in query else None
    if LARGE_BUFFERS is not None:
        environ["v1registry.buffers"] = buffers
    direct = receive_direct.pieces(environ, SMALL_PIECE, BufferPool()) is not None
    digest = hashlib.sha256()
    sizes = []
    piece = b""
    for piece in pieces(environ, limit):
        if "pause" in query:
            time.sleep(float(query["pause"]))  # like a store over the network
        digest.update(piece)
        sizes.append(len(piece))
        if query.get("stop"):
            raise Failure(507, "The store is full")
    found = {
        "sha256": digest.hexdigest(),
        "length": sum(sizes),
        "largest": max(sizes, default=0),
        "direct": direct,
        "memory": any(piece),  # whether the last piece, which is still referenced, has its memory
    }
    return answer(start_response, json.dumps(found))


def hold(environ, query, start_response):
    """Read only a part of the body, and keep the generator open."""
    held.append(pieces(environ, None))
    next(held[-1])
    return answer(start_response, "true")


held = []

LARGE_BUFFERS = os.environ.get("SERVING_LARGE_BUFFERS")
buffers = BufferPool(int(LARGE_BUFFERS or 0))


def stock(environ, query, start_response):
    body = environ["wsgi.input"].read()
    found = {"sha256": hashlib.sha256(body).hexdigest(), "length": len(body)}
    return answer(start_response, json.dumps(found))


def refuse(environ, query, start_response):
    return answer(start_response, '{"error": "no"}', "404 Not Found")


def send(environ, query, start_response):
    file = open(FILE, "rb")  # noqa: SIM115 - closed by the server
    start, length = int(query["start"]), int(query["length"])
    start_response("200 OK", [("Content-Length", query.get("announce", str(length)))])
    body = FileRange(file, start, length)
    return list_and_close(body) if query.get("wrapped") else body


def list_and_close(body):
    try:
        yield from body
    finally:
        body.close()


def wrapper(environ, query, start_response):
    file = open(FILE, "rb")  # noqa: SIM115 - closed by the server
    start_response("200 OK", [("Content-Length", str(os.path.getsize(FILE)))])
    return environ["wsgi.file_wrapper"](file)


def facts(environ, query, start_response):
    found = {
        "pid": os.getpid(),
        "files": sum(1 for path in open_files() if path == FILE),
        "client": environ.get("v1registry.client"),
        "request_id": environ.get("v1registry.request_id"),
        "scheme": environ["wsgi.url_scheme"],
        "shared": SHARED,
    }
    return answer(start_response, json.dumps(found))


def open_files():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue


def block(environ, query, start_response):
    run_in_thread(blocking, float(query["seconds"]))
    return answer(start_response, "true")


def unpatched(environ, query, start_response):
    """Return the modules that still refer to functions that gevent replaces."""
    from gevent import monkey

    originals = {
        id(value): f"{module}.{name}"
        for module, names in monkey.saved.items()
        if not module.startswith("_gevent")
        for name, value in names.items()
        if callable(value)
    }
    held = sorted(
        f"{module}: {originals[id(value)]}"
        for module, there in list(sys.modules.items())
        if module.split(".")[0] in ("v1registry", "flask", "werkzeug", "redis", "sqlalchemy")
        for value in list(vars(there).values())
        if id(value) in originals
    )
    return answer(start_response, json.dumps({"held": held, "patched": sorted(monkey.saved)}))


def wait(environ, query, start_response):
    """Wait like blocking code, in the requested way."""
    seconds = float(query["seconds"])
    WAITS[query["how"]](seconds)
    return answer(start_response, "true")


def wait_for_a_lock(seconds):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=seconds)


def wait_for_a_socket(seconds):
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.suppress(TimeoutError):
        ours.settimeout(seconds)
        ours.recv(1)


def wait_in_select(seconds):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        select.select([ours], [], [], seconds)


def wait_for_a_queue(seconds):
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=seconds)


WAITS = {
    "sleep": time.sleep,
    "lock": wait_for_a_lock,
    "socket": wait_for_a_socket,
    "select": wait_in_select,
    "queue": wait_for_a_queue,
    "process": lambda seconds: subprocess.run(["sleep", str(seconds)], check=True),
}


def blocking(seconds):
    import gevent.monkey

    # The patched sleep would not block other requests.
    gevent.monkey.get_original("time", "sleep")(seconds)


def fail(environ, query, start_response):
    start_response("200 OK", [("Content-Length", "100")])
    yield b"begun"
    time.sleep(0)
    raise RuntimeError("half way")


ROUTES = {
    "receive": receive,
    "hold": hold,
    "stock": stock,
    "refuse": refuse,
    "send": send,
    "wrapper": wrapper,
    "facts": facts,
    "block": block,
    "unpatched": unpatched,
    "wait": wait,
    "fail": fail,
}
