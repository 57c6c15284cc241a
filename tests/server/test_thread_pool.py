"""offload: in place here; in the pool in a worker (test_worker shows that others go on)."""

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
from v1registry.server.thread_pool import offload

ident = monkey.get_original("_thread", "get_ident")
sleep = monkey.get_original("time", "sleep")
here = ident()
gevent.get_hub()

assert offload(ident) != here
assert offload(int, "11", base=2) == 3
# A thread of the pool offloads in place.
assert offload(lambda: (ident(), offload(ident)).count(ident())) == 2

try:
    offload(divmod, 7, 0)
except ZeroDivisionError:
    pass
else:
    raise AssertionError("no error")

seen = []
other = gevent.spawn(lambda: seen.append("other ran"))
offload(sleep, 0.2)
assert seen == ["other ran"]
"""

QUIET = """
from gevent import monkey
monkey.patch_all()
import gevent, os, threading
from v1registry.server.thread_pool import Quiet

sleep = monkey.get_original("time", "sleep")
quiet = Quiet()
nice = lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
before = nice()
assert quiet(nice) == min(before + 10, 19) or quiet(nice) == 10, quiet(nice)
assert nice() == before, "the thread that serves is no slower"
assert quiet(int, "11", base=2) == 3
try:
    quiet(divmod, 7, 0)
except ZeroDivisionError:
    pass
else:
    raise AssertionError("no error")
seen = []
other = gevent.spawn(lambda: seen.append("other ran"))
quiet(sleep, 0.2)
assert seen == ["other ran"]
"""


@pytest.mark.parametrize("code", [PATCHED, QUIET])
def test_in_a_patched_process(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    # An error is the caller's business: the pool must not print it.
    assert (done.returncode, done.stderr) == (0, "")
