"""Connections: TLS probes, keep-alive, and reload and stop without a lost byte."""

import json
import os
import signal
import socket
import threading
import time

import pytest

from tests.server.serving import Serving, head, read_answer
from tests.server.test_receive import TE, json_of, sha
from tests.waiting import wait_for

MIB = 1024 * 1024
CLIENT_HELLO = bytes.fromhex("16030100a5010000a10303") + b"\x00" * 160


def test_tls_probe_on_the_plain_port(serving):
    for sent in (CLIENT_HELLO, CLIENT_HELLO[:1]):
        started = time.monotonic()
        with serving.connect() as sock:
            sock.sendall(sent)
            # A normal close, not a reset, and long before any timeout.
            assert sock.recv(1) == b""
        assert time.monotonic() - started < 1
    assert serving.get("/facts")[0] == 200
    assert "Invalid request" not in serving.log


def test_first_byte_alone(serving):
    with serving.connect() as sock:
        sock.sendall(b"G")
        time.sleep(0.05)
        sock.sendall(head("GET", "/facts")[1:])
        assert read_answer(sock)[0] == 200


def test_many_requests_on_one_connection(serving):
    with serving.connect() as sock:
        for _ in range(50):
            sock.sendall(head("GET", "/facts"))
            assert read_answer(sock)[0] == 200


@pytest.mark.parametrize(
    ("version", "headers", "kept"),
    [
        ("1.1", [], "keep-alive"),
        ("1.1", [("Connection", "close")], "close"),
        ("1.0", [], "close"),
        ("1.0", [("Connection", "keep-alive")], "keep-alive"),
    ],
)
def test_when_the_connection_stays_open(serving, version, headers, kept):
    with serving.connect() as sock:
        sock.sendall(head("GET", "/facts", headers, version))
        assert read_answer(sock)[1]["Connection"] == kept
        if kept == "close":
            assert sock.recv(1) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\n\n",
        b"GET / HTTP/1.1\r\nA b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A : a\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_malformed_head(serving, raw):
    with serving.connect() as sock:
        sock.sendall(raw)
        assert read_answer(sock)[0] == 400
        assert sock.recv(1) == b""


def test_a_long_request_line(serving):
    with serving.connect() as sock:
        sock.sendall(b"GET /" + b"a" * 4090 + b" HTTP/1.1\r\n\r\n")
        assert read_answer(sock)[0] == 414
        assert sock.recv(1) == b""


def test_exception_of_the_application(serving):
    assert serving.get("/no-such-route")[0] == 500
    assert serving.get("/facts")[0] == 200


def test_blocking_work_does_not_block_other_requests(serving):
    with serving.connect() as blocked:
        blocked.sendall(head("GET", "/block?seconds=2", [("Connection", "close")]))
        wait_for(lambda: serving.get("/facts")[0] == 200)
        blocked.settimeout(0.01)
        with pytest.raises(TimeoutError):
            blocked.recv(1)
        blocked.settimeout(20)
        assert read_answer(blocked)[2] == b"true"


def test_an_idle_connection_ends_after_the_keep_alive_timeout(tmp_path):
    with (
        Serving(tmp_path, environ={"GUNICORN_KEEPALIVE": "1"}) as serving,
        serving.connect() as sock,
    ):
        sock.sendall(head("GET", "/facts"))
        assert read_answer(sock)[0] == 200
        assert sock.recv(1) == b""


class Transfers:
    """A slow download, a slow upload and an idle connection, in progress while a test does something."""

    def __init__(self, serving, big_file):
        self.serving = serving
        self.whole = big_file.read_bytes()
        self.part = os.urandom(32768)
        self.download = serving.connect(receive_buffer=65536)
        self.download.sendall(head("GET", f"/send?start=0&length={len(self.whole)}"))
        assert self.download.recv(1, socket.MSG_PEEK) == b"H"
        self.upload = serving.connect()
        self.upload.sendall(head("PUT", "/receive", TE))
        self.send_parts(5)
        self.idle = serving.connect()
        self.idle.sendall(head("GET", "/facts"))
        self.pid = json_of(read_answer(self.idle))["pid"]

    def send_parts(self, count):
        for _ in range(count):
            self.upload.sendall(b"8000\r\n" + self.part + b"\r\n")

    def idle_is_closed(self):
        self.idle.settimeout(10)
        return self.idle.recv(1) == b""

    def finish(self):
        self.send_parts(40)
        self.upload.sendall(b"0\r\n\r\n")
        assert json_of(read_answer(self.upload))["sha256"] == sha(self.part * 45)
        assert read_answer(self.download)[2] == self.whole
        for sock in (self.download, self.upload, self.idle):
            sock.close()


def test_reload_breaks_no_transfer(tmp_path, big_file):
    with Serving(tmp_path, file=big_file) as serving:
        transfers = Transfers(serving, big_file)
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: other_pid(serving, transfers.pid))
        assert transfers.idle_is_closed()
        # The old worker still runs, only for the two transfers.
        os.kill(transfers.pid, 0)
        transfers.finish()
        wait_for(lambda: f"Worker exiting (pid: {transfers.pid})" in serving.log)
        assert serving.get("/facts")[0] == 200
        assert "Traceback" not in serving.log + serving.output.read_text()


def test_the_master_keeps_working_while_old_transfers_finish(tmp_path, big_file):
    with Serving(tmp_path, file=big_file) as serving:
        transfers = Transfers(serving, big_file)
        serving.process.send_signal(signal.SIGHUP)
        second = wait_for(lambda: other_pid(serving, transfers.pid))
        # A crashed worker is replaced, ...
        os.kill(second, signal.SIGKILL)
        third = wait_for(lambda: other_pid(serving, transfers.pid, second))
        # ... another reload is accepted, ...
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: other_pid(serving, transfers.pid, second, third))
        os.kill(transfers.pid, 0)
        # ... and so is the signal to stop. No transfer is cut.
        serving.process.send_signal(signal.SIGTERM)
        transfers.finish()
        assert serving.process.wait(15) == 0


def both_pids(serving):
    """Return the process ids of two workers, which both serve."""
    pids = set()

    def answered():
        pids.add(json_of(serving.get("/facts"))["pid"])
        return len(pids) == 2

    wait_for(answered)
    return pids


def other_pid(serving, *known):
    """Return the id of the process that answers, if it is not in `known`."""
    try:
        pid = json_of(serving.get("/facts"))["pid"]
    except OSError:
        return None
    return pid if pid not in known else None


def test_plain_gunicorn_serves_reloads_and_stops(tmp_path, big_file):
    """Our worker under gunicorn's own master, which waits for transfers before it does anything else."""
    with Serving(tmp_path, file=big_file, program="gunicorn") as serving:
        transfers = Transfers(serving, big_file)
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: other_pid(serving, transfers.pid))
        transfers.finish()
        wait_for(lambda: f"Worker exiting (pid: {transfers.pid})" in serving.log)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(15) == 0
        assert "Traceback" not in serving.log + serving.output.read_text()


def test_reload_with_a_broken_configuration_changes_nothing(tmp_path):
    with Serving(tmp_path) as serving:
        pid = json_of(serving.get("/facts"))["pid"]
        good = serving.conf.read_text()
        for broken in ("import sys; sys.exit('the reason')", "1/0"):
            serving.conf.write_text(broken)
            before = serving.log.count("Not reloaded")
            serving.process.send_signal(signal.SIGHUP)
            wait_for(lambda n=before: serving.log.count("Not reloaded") > n)
            assert json_of(serving.get("/facts"))["pid"] == pid
        assert "the reason" in serving.log
        serving.conf.write_text(good)
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: other_pid(serving, pid))


@pytest.mark.parametrize("way", ["exit", "raise", "exit otherwise"])
def test_a_reload_to_workers_that_cannot_start_stops_no_worker(tmp_path, way):
    with Serving(tmp_path, workers=2) as serving:
        pids = both_pids(serving)
        serving.obstacle.write_text(way)
        serving.process.send_signal(signal.SIGHUP)
        # The start is retried, and the old workers answer meanwhile.
        wait_for(lambda: serving.log.count("A worker cannot start") >= 2)
        for _ in range(20):
            assert serving.get("/facts")[0] == 200
        assert "2 others serve on, next try in 1 s" in serving.log
        assert (
            serving.log.count("Booting worker") <= 2 + 2 * 3
        )  # at the reload, after 1 s, after 3 s
        serving.obstacle.unlink()
        # The new workers also take over without a second HUP.
        wait_for(lambda: all(f"Worker exiting (pid: {pid})" in serving.log for pid in pids))
        assert other_pid(serving, *pids)


def test_a_crashed_worker_that_cannot_start_again_stops_no_other(tmp_path):
    with Serving(tmp_path, workers=2) as serving:
        pid = both_pids(serving).pop()
        serving.obstacle.write_text("exit")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "1 others serve on" in serving.log)
        assert other_pid(serving, pid)
        started = serving.log.count("Booting worker")
        serving.obstacle.unlink()
        wait_for(lambda: serving.log.count("Booting worker") > started)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(15) == 0


def test_the_pause_is_short_again_after_a_worker_has_served(tmp_path):
    """Workers that are killed as soon as they serve, by the kernel for example, could start."""
    with Serving(tmp_path, workers=1) as serving:
        pid = json_of(serving.get("/facts"))["pid"]
        serving.obstacle.write_text("exit")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "0 others serve on, next try in 2 s" in serving.log)
        serving.obstacle.unlink()
        pid = wait_for(lambda: other_pid(serving, pid))
        serving.obstacle.write_text("exit")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: serving.log.count("A worker cannot start") == 3)
        assert serving.log.rstrip().endswith("next try in 1 s")


@pytest.mark.parametrize("way", ["exit", "raise", "exit otherwise"])
def test_the_first_start_is_not_retried(tmp_path, way):
    serving = Serving(tmp_path, workers=2)
    serving.obstacle.write_text(way)
    with pytest.raises(AssertionError, match="gunicorn ended"), serving:
        pass
    assert serving.process.returncode == {"exit": 4, "raise": 3, "exit otherwise": 3}[way]
    assert "HaltServer" not in serving.log + serving.output.read_text()


def test_a_reload_keeps_the_addresses(tmp_path):
    with Serving(tmp_path) as serving:
        pid = json_of(serving.get("/facts"))["pid"]
        serving.conf.write_text(serving.conf.read_text() + "bind = '127.0.0.1:1'\n")
        serving.process.send_signal(signal.SIGHUP)
        # Only the old worker could listen there; the new one must be able to.
        wait_for(lambda: other_pid(serving, pid))
        assert "Addresses change with a restart only" in serving.log


def test_reloads_faster_than_workers_start(tmp_path):
    """No worker may miss the signal to stop because it has no handler yet."""
    with Serving(tmp_path, workers=2) as serving:
        for number in range(8):
            serving.process.send_signal(signal.SIGHUP)
            wait_for(lambda n=number: serving.log.count("Handling signal: hup") > n)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(30) == 0


def test_stop_breaks_no_transfer(tmp_path, big_file):
    with Serving(tmp_path, file=big_file) as serving:
        transfers = Transfers(serving, big_file)
        serving.process.send_signal(signal.SIGTERM)
        assert transfers.idle_is_closed()
        wait_for(lambda: is_refused(serving))  # the listener closes beside the idle connections
        transfers.finish()
        assert serving.process.wait(15) == 0
        assert "Traceback" not in serving.log + serving.output.read_text()


def is_refused(serving):
    try:
        serving.connect(timeout=1).close()
    except OSError:
        return True
    return False


def test_stop_with_idle_connections_is_quick(tmp_path):
    with Serving(tmp_path) as serving:
        socks = [serving.connect() for _ in range(20)]
        for sock in socks:
            sock.sendall(head("GET", "/facts"))
            read_answer(sock)
        serving.process.send_signal(signal.SIGTERM)
        # The keep-alive timeout is 75 s.
        assert serving.process.wait(15) == 0
        for sock in socks:
            assert sock.recv(1) == b""
            sock.close()


def test_the_graceful_timeout_ends(tmp_path, big_file):
    with (
        Serving(tmp_path, file=big_file, environ={"GUNICORN_GRACEFUL_TIMEOUT": "1"}) as serving,
        serving.connect(receive_buffer=8192) as sock,
    ):
        sock.sendall(head("GET", "/send?start=0&length=20000000"))
        sock.recv(10)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(15) == 0


def test_no_request_is_lost_over_reloads(tmp_path):
    """While workers start and stop, every new connection is answered."""
    with Serving(tmp_path, workers=2) as serving:
        stop = threading.Event()
        failed = []
        answered = [0]

        def ask():
            while not stop.is_set():
                try:
                    assert serving.get("/facts")[0] == 200
                    answered[0] += 1
                except (OSError, AssertionError) as error:
                    failed.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(1, 4):
                serving.process.send_signal(signal.SIGHUP)
                wait_for(lambda n=number: serving.log.count("Worker exiting") >= 2 * n, 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert answered[0] > 10


def test_max_requests_replaces_the_worker(tmp_path):
    with Serving(tmp_path, environ={"GUNICORN_MAX_REQUESTS": "3"}) as serving:
        pids = set()

        def another_process():
            try:
                pids.add(json.loads(serving.get("/facts")[2])["pid"])
            except OSError:
                pass
            return len(pids) > 1

        wait_for(another_process)
