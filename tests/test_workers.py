"""What is left of a process that is killed while it holds semaphores."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLED = """
import os, signal
from eigenloop.system.workers import context

stop = context().Event()
print(stop._flag._semlock.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


SLOW = """
import multiprocessing, os, pathlib, time

def begin():
    pass

if multiprocessing.parent_process() is not None:
    pathlib.Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(60)
"""
WAITING = """
import os, pathlib, signal, sys, time
sys.path.insert(0, sys.argv[1])
import slow
from eigenloop.system.workers import processes

pool = processes(1, slow.begin)
pool.submit(print)
while not (found := pathlib.Path(sys.argv[1], "slow.pid")).exists() or not found.read_text():
    time.sleep(0.02)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are looked for in /proc")
def test_a_worker_ends_with_its_parent_while_it_imports(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    done = subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path)])
    assert done.wait(timeout=60) == -signal.SIGKILL
    worker = Path("/proc", (tmp_path / "slow.pid").read_text())
    ends = time.monotonic() + 10  # of the 60 that its import takes
    while worker.exists() and time.monotonic() < ends:
        time.sleep(0.02)
    assert not worker.exists()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are looked for in /dev/shm")
def test_a_killed_process_leaves_no_semaphore_and_no_word() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    name = done.stdout.decode().strip()
    assert name.startswith("/mp-")
    assert not Path("/dev/shm", f"sem.{name[1:]}").exists()  # its tracker has ended by now
    assert done.stderr == b""


def test_warnings_are_as_they_were() -> None:
    from eigenloop.system.workers import context

    before = list(sys.warnoptions)
    assert context().get_start_method() == "spawn"
    assert sys.warnoptions == before
