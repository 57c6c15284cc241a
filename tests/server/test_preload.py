"""Modules that workers share with their master, and gevent's patches in them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.serving import ROOT, Serving, head, read_answer
from tests.server.test_worker import both_pids, json_of, other_pid
from tests.waiting import wait_for


def run(code, **environ):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_modules_come_from_the_master(tmp_path):
    """In the first workers, after a crash, and after a reload."""
    with Serving(tmp_path, workers=2) as serving:
        first = both_pids(serving)
        assert json_of(serving.get("/facts"))["shared"]
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        second = wait_for(lambda: other_pid(serving, *first))
        assert json_of(serving.get("/facts"))["shared"]
        before = {*first, second, *both_pids(serving)}
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: other_pid(serving, *before))
        assert json_of(serving.get("/facts"))["shared"]
        assert "Traceback" not in serving.log + serving.output.read_text()


def test_shared_memory_is_not_copied(tmp_path):
    """A worker that has answered a request shares at least a third of its memory."""
    with Serving(tmp_path, workers=2) as serving:
        for pid in both_pids(serving):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            shared = int(re.search(r"Shared_Dirty: +(\d+)", text)[1])
            alone = int(re.search(r"Private_Dirty: +(\d+)", text)[1])
            assert shared > alone / 2, text


def test_a_module_that_cannot_be_imported_does_not_stop_the_server(tmp_path):
    with Serving(tmp_path) as serving:
        pid = json_of(serving.get("/facts"))["pid"]
        serving.conf.write_text(
            serving.conf.read_text().replace('"v1registry.app"', '"v1registry.none"')
        )
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: other_pid(serving, pid))
        assert "Workers do not share modules: importing one failed" in serving.log


def test_gevent_patches_everything_that_it_can(serving):
    found = json_of(serving.get("/unpatched"))
    whole = "from gevent import monkey; monkey.patch_all(); print(*sorted(monkey.saved))"
    assert found["patched"] == run(whole)
    assert found["held"] == []


@pytest.mark.parametrize("how", ["sleep", "lock", "socket", "select", "queue", "process"])
def test_a_waiting_request_does_not_block_others(serving, how):
    with serving.connect() as waiting:
        path = f"/wait?seconds=1.5&how={how}"
        waiting.sendall(head("GET", path, [("Connection", "close")]))
        for _ in range(3):
            assert serving.get("/facts")[0] == 200
        waiting.settimeout(0.01)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        waiting.settimeout(20)
        assert read_answer(waiting)[2] == b"true"


def test_forks_and_signals_of_the_master_are_not_patched():
    code = """
import os, signal
fork, waitpid, handle = os.fork, os.waitpid, signal.signal
from v1registry.server.preload import patch_master, patch_process
patch_master()
import gevent, socket, threading
from gevent._hub_local import get_hub_if_exists
assert (os.fork, os.waitpid, signal.signal) == (fork, waitpid, handle)
assert get_hub_if_exists() is None, "an event loop in the master"
patch_process()
assert os.fork is not fork and signal.signal is not handle
"""
    run(code)


def test_the_database_driver_waits_with_gevent():
    """psycopg chooses its way to wait at its import. Its own wait in C would block the whole worker."""
    code = """
from v1registry.server.preload import patch_master
patch_master()
import psycopg.waiting as waiting
print(waiting.wait.__name__)
"""
    assert run(code) != ["wait_c"]


@pytest.mark.parametrize("environ", [{}, {"MALLOC_ARENA_MAX": "3"}], ids=["default", "configured"])
def test_threads_share_one_heap_unless_the_environment_configures_malloc(environ):
    code = """
import ctypes
from v1registry.server.preload import hooks
hooks(lambda: None)["when_ready"](None)
from gevent import monkey
from gevent.threadpool import ThreadPool
def work(_):
    monkey.get_original("time", "sleep")(0.1)
    return bytearray(100_000)
kept = ThreadPool(4).map(work, range(4))
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
"""
    heaps = run(code, **environ).count("<heap")
    assert heaps > 1 if environ else heaps == 1
