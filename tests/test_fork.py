"""Fork after parallel work: the child computes, with the same bits, and nobody hangs.

Every test runs in a process of its own with a time limit: a hang is a failure.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastnn

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy",
                       reason="NumPy's threads do not survive a fork, and its bits depend on them"),
]

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fastnn.__file__).parents[1])}

WORK = """
import multiprocessing, os, signal, sys, threading
import fastnn
from fastnn import nn
from fastnn.nn import functional as F

fastnn._core.always_team(True)
fastnn.set_num_threads(2)
fastnn.manual_seed(0)
model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
x, y = fastnn.randn(64, 256), fastnn.randint(0, 10, (64,))

def work():
    model.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    results = [p.grad for p in model.parameters()] + [loss.detach()]
    return b"".join(t.numpy().tobytes() for t in results)

def child():
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(0 if work() == expected else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

"""


def run(code: str, seconds: float) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", WORK + code],
                          env=ENVIRONMENT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr


def test_a_thousand_forks() -> None:
    """Parent and child both compute after each; the parent sometimes with other thread counts."""
    run("""
expected = work()
for i in range(1000):
    if i % 10 == 0:
        fastnn.set_num_threads((2, 3, 1, 7)[i // 10 % 4])
    assert work() == expected
    assert child() == 0
""", 120)


def test_fork_from_a_thread_while_others_compute() -> None:
    run("""
expected = work()
stop = threading.Event()
def busy():
    a = fastnn.randn(300, 300)
    while not stop.is_set():
        a @ a
def forks():
    results.extend(child() for _ in range(50))
results = []
workers = [threading.Thread(target=busy) for _ in range(2)]
forker = threading.Thread(target=forks)
for t in (*workers, forker):
    t.start()
forker.join()
stop.set()
for t in workers:
    t.join()
assert results == [0] * 50, results
assert work() == expected
""", 120)


def test_a_child_forks_again() -> None:
    run("""
expected = work()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    ok = work() == expected and child() == 0 and work() == expected
    os._exit(0 if ok else 1)
assert os.waitpid(pid, 0)[1] == 0
""", 60)


POOL = '''
import multiprocessing, sys
import fastnn

fastnn._core.always_team(True)

def product(seed):
    x = fastnn.randn(256, 256, generator=fastnn.Generator().manual_seed(seed))
    return (x @ x).numpy().tobytes()

if __name__ == "__main__":
    expected = [product(i) for i in range(8)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(product, range(8)) == expected
'''


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(POOL)
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", program, method],
                   env=ENVIRONMENT, check=True, timeout=60)


SERVER = '''
import json, os, threading
import fastnn
from fastnn import nn

fastnn._core.always_team(True)
fastnn.set_num_threads(2)
fastnn.manual_seed(0)
model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 10)).eval()
with fastnn.no_grad():
    model(fastnn.ones(128, 256))              # the workers exist before the workers are forked

def app(environ, start_response):
    value = float(environ["PATH_INFO"].strip("/") or 0)
    with fastnn.inference_mode():
        y = model(fastnn.full((128, 256), value))
    body = json.dumps({"pid": os.getpid(), "y": y.numpy().tobytes().hex()}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
'''


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port: int, value: float) -> dict:
    """One request, on a connection of its own so that any worker may answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", f"/{value}")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def wait_for(server: subprocess.Popen, port: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        assert server.poll() is None, "gunicorn ended"
        try:
            ask(port, 0)
            return
        except OSError:
            assert time.monotonic() < until, "gunicorn does not answer"
            time.sleep(0.05)


@pytest.mark.skipif(find_spec("gunicorn") is None,
                    reason="needs gunicorn, which the extra [test] installs")
def test_gunicorn_preload_serves_a_model(tmp_path: Path) -> None:
    """The model is loaded and run before the fork; both workers answer with the parent's bits."""
    (tmp_path / "server.py").write_text(SERVER)
    code = ("from server import app; import json\n"
            "for v in (0.5, 1.0, 2.0): "
            "print(json.loads(app({'PATH_INFO': f'/{v}'}, lambda *_: None)[0])['y'])")
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, check=True,
                         capture_output=True, text=True, timeout=30).stdout.split()
    expected = dict(zip((0.5, 1.0, 2.0), out, strict=True))
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind",
         f"127.0.0.1:{port}", "--log-level", "error", "server:app"],
        cwd=tmp_path, env=ENVIRONMENT | {"HOME": str(tmp_path)})
    try:
        wait_for(server, port, 30)
        answers = [(v, ask(port, v)) for _ in range(30) for v in expected]
        assert all(a["y"] == expected[v] for v, a in answers)
        assert {a["pid"] for _, a in answers} - {server.pid}
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
