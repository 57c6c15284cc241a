"""within: it has no effect here, and bounds the whole call in a worker."""

import subprocess
import sys

import pytest

from tests.server.serving import ROOT
from v1registry.server.deadline import within


def test_without_gevent_it_only_calls_the_function():
    assert within(1, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 // 0)


PATCHED = """
from gevent import monkey
monkey.patch_all()
import gevent, time
from v1registry.server.deadline import within
gevent.get_hub()

assert within(5, lambda: 5) == 5

def stubborn():
    # like a library that tries one address after another
    for _ in range(1000):
        try:
            time.sleep(0.05)
        except Exception:
            pass

try:
    within(0.2, stubborn)
except TimeoutError as error:
    assert str(error) == "no answer within 0.2 s"
else:
    raise AssertionError("no end")

def of_somebody_else():
    with gevent.Timeout(0.01):
        time.sleep(5)

try:
    within(60, of_somebody_else)
except gevent.Timeout:
    pass
time.sleep(0.05)  # the timeout leaves nothing behind
within(0.02, lambda: None)
time.sleep(0.05)
"""


def test_in_a_patched_process():
    done = subprocess.run(
        [sys.executable, "-c", PATCHED], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
