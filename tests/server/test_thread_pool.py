"""run_in_thread: in the calling thread here, in the pool in a worker. See also test_worker."""

import subprocess
import sys

import pytest

from tests.server.serving import ROOT
from v1registry.server.thread_pool import run_in_thread


def test_in_place():
    import threading

    assert run_in_thread(threading.get_ident) == threading.get_ident()
    assert run_in_thread(divmod, 7, 2) == (3, 1)
    assert run_in_thread(int, "11", base=2) == 3
    with pytest.raises(ZeroDivisionError):
        run_in_thread(divmod, 7, 0)


PATCHED = """
from gevent import monkey
monkey.patch_all()
import gevent, time
from v1registry.server.thread_pool import run_in_thread

ident = monkey.get_original("_thread", "get_ident")
sleep = monkey.get_original("time", "sleep")
here = ident()
gevent.get_hub()

assert run_in_thread(ident) != here
assert run_in_thread(int, "11", base=2) == 3
# A thread of the pool runs it in place.
assert run_in_thread(lambda: (ident(), run_in_thread(ident)).count(ident())) == 2

# What belongs to the request (such as the caller's token) counts in the thread, too.
import contextvars
token = contextvars.ContextVar("token", default=None)
def request(value):
    token.set(value)
    return run_in_thread(lambda: (token.get(), token.set("other")))[0], token.get()
requests = [gevent.spawn(request, number) for number in range(20)]
assert [one.get() for one in requests] == [(number, number) for number in range(20)]
assert run_in_thread(token.get) is None

try:
    run_in_thread(divmod, 7, 0)
except ZeroDivisionError:
    pass
else:
    raise AssertionError("no error")

seen = []
other = gevent.spawn(lambda: seen.append("other ran"))
run_in_thread(sleep, 0.2)
assert seen == ["other ran"]
"""

QUIET = """
from gevent import monkey
monkey.patch_all()
import gevent, os, threading
from v1registry.server.thread_pool import BackgroundThread

sleep = monkey.get_original("time", "sleep")
background = BackgroundThread()
nice = lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
before = nice()
assert background(nice) == min(before + 10, 19) or background(nice) == 10, background(nice)
assert nice() == before, "the thread that serves is no slower"
assert background(int, "11", base=2) == 3
try:
    background(divmod, 7, 0)
except ZeroDivisionError:
    pass
else:
    raise AssertionError("no error")
seen = []
other = gevent.spawn(lambda: seen.append("other ran"))
background(sleep, 0.2)
assert seen == ["other ran"]
"""


@pytest.mark.parametrize("code", [PATCHED, QUIET])
def test_in_a_patched_process(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    # The caller handles the error: the pool must not print it.
    assert (done.returncode, done.stderr) == (0, "")
