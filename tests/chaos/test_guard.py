"""What ends when the runner of the chaos is killed outright."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
RUNNER = """
import signal, subprocess, sys, time
from tests.chaos.guard import guarded
sleeper = "import time; time.sleep(600)"
parent = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {sleeper!r}]).pid, flush=True); time.sleep(600)"
with guarded() as guard:
    child = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True, stdout=subprocess.PIPE, text=True)
    guard.watch(child.pid)
    orphan = child.stdout.readline().strip()
    child.kill()
    child.wait()
    stranger = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
    print(orphan, stranger.pid, flush=True)
    time.sleep(600)
"""  # noqa: E501


def test_a_suspended_orphan_ends_with_a_killed_runner():
    """The guard ends only the sessions that it was given; another process stays."""
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER], stdout=subprocess.PIPE, text=True, env={**os.environ}, cwd=ROOT
    )
    orphan, stranger = (psutil.Process(int(pid)) for pid in runner.stdout.readline().split())
    try:
        orphan.suspend()
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        _, alive = psutil.wait_procs([orphan], timeout=20)
        assert alive == []
        assert stranger.is_running()
    finally:
        stranger.kill()
        runner.stdout.close()
