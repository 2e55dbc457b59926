"""The end of a test run says what was not run for want of something, and how to have it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_a_missing_browser_is_told_at_the_end() -> None:
    """On a PATH without chromium, also where the tests are shared among processes."""
    words = [str(TESTS / "test_report_browser.py"), "-q", "-p", "no:cacheprovider", "-m", ""]
    for more in (["-n", "0"], ["-n", "2"]):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *more],
            cwd=TESTS.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PATH": "/nonexistent"},
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("not run: ")]
        assert len(lines) == 1, done.stdout
        assert lines[0].endswith(
            "tests, for want of chromium; install it (Debian: apt-get install chromium)"
        )
        assert int(lines[0].split()[2]) > 5
