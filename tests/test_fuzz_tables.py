"""The reader of tables under damaged and hostile files: `InputError` and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_damaged_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "fuzz_tables.py"), "--seconds", "30", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
