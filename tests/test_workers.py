"""What is left of a process that is killed while it holds semaphores."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, signal
from eigenloop.system.workers import context

stop = context().Event()
print(stop._flag._semlock.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


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
