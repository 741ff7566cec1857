"""The demo's processes: started when ready, and none of them outlives its supervisor, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from demo import processes
from demo.ports import free_port
from demo.processes import Child, Ended, ProcessFailed, Supervisor

ROOT = Path(__file__).parents[3]
# No byte code: it would lie beside the sources.
ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "include"), "PYTHONDONTWRITEBYTECODE": "1"}
SLEEPER = "import time; time.sleep(600)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
UNREAPED = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
children = []
for _ in range(5):
    children.append(os.fork())
    if not children[-1]:
        time.sleep(600)
print(*children, flush=True)
time.sleep(600)
"""
STRAY = """
import subprocess, sys
code = "import time; time.sleep(600)  # airflow"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
print(child.pid, flush=True)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def output(child: Child) -> str:
    return child.log_file.read_text(encoding="utf-8").strip()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs") as running:
        yield running


LISTENER = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
time.sleep(600)
"""


def test_a_port_of_a_descendant_is_found(supervisor: Supervisor) -> None:
    """A socket that others can reach is distinguished from one on loopback, in either family."""
    child = supervisor.start("listener", python(LISTENER), env=ENV)
    supervisor.wait_until(child, lambda: bool(output(child)), seconds=30)
    assert ("127.0.0.1", int(output(child))) in processes.listening()
    found = [("127.0.0.1", 1), ("::1", 2), ("0.0.0.0", 3), ("::", 4), ("192.0.2.1", 5)]  # noqa: S104
    assert processes.reachable_by_others(found) == ["0.0.0.0:3", ":::4", "192.0.2.1:5"]


def test_every_process_ends_with_its_supervisor(tmp_path: Path) -> None:
    """The supervisor ends its processes, and their children, when it exits."""
    with Supervisor(tmp_path) as supervisor:
        pids = [supervisor.start(f"p{number}", python(SLEEPER), env=ENV).process.pid for number in range(3)]
        assert all(map(lives, pids))
    assert not any(map(lives, pids))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_every_process_ends_after_an_error_or_interrupt(tmp_path: Path, error: type[BaseException]) -> None:
    """All processes end if a step raises an error or is interrupted."""
    pids: list[int] = []

    def run() -> None:
        with Supervisor(tmp_path) as supervisor:
            pids.append(supervisor.start("sleeper", python(SLEEPER), env=ENV).process.pid)
            raise error

    with pytest.raises(error):
        run()
    assert not lives(pids[0])


def test_the_children_of_a_process_end_with_it(supervisor: Supervisor) -> None:
    """An executor's tasks are its children."""
    child = supervisor.start("family", python(FAMILY), env=ENV)
    supervisor.wait_until(child, lambda: bool(output(child)), seconds=30)
    grandchild = int(output(child))
    assert lives(grandchild)
    supervisor.stop()
    assert not lives(grandchild)


def test_an_orphan_of_airflow_ends_too(supervisor: Supervisor) -> None:
    """A process whose parent is gone is handed to the supervisor."""
    supervisor.run("stray", python(STRAY), env=ENV)
    orphan = int((supervisor_log(supervisor, "stray")).strip())
    assert lives(orphan)
    supervisor.stop()
    assert not lives(orphan)


def supervisor_log(supervisor: Supervisor, name: str) -> str:
    return (supervisor._logs / f"{name}.log").read_text(encoding="utf-8")


def test_a_process_that_ignores_sigterm_is_killed(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ignores SIGTERM is killed."""
    monkeypatch.setattr("demo.processes.GRACE_SECONDS", 0.5)
    child = supervisor.start("stubborn", python(STUBBORN), env=ENV)
    supervisor.wait_until(child, lambda: "up" in output(child), seconds=30)
    supervisor.stop()
    assert not lives(child.process.pid)


def test_unreaped_children_do_not_block_the_end(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed children that their parent does not reap do not block the end; processes started earlier end as
    well.
    """
    monkeypatch.setattr("demo.processes.GRACE_SECONDS", 0.5)
    before = supervisor.start("sleeper", python(SLEEPER), env=ENV)
    parent = supervisor.start("unreaped", python(UNREAPED), env=ENV)
    supervisor.wait_until(parent, lambda: bool(output(parent)), seconds=30)
    children = [int(pid) for pid in output(parent).split()]
    supervisor.stop()
    assert not any(map(lives, [before.process.pid, parent.process.pid, *children]))


def test_one_that_can_not_be_ended_keeps_no_other_alive(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, and afterwards everything else is gone."""
    first = supervisor.start("first", python(SLEEPER), env=ENV)
    last = supervisor.start("last", python(SLEEPER), env=ENV)
    end = processes.end_tree

    def end_all_but_the_last(child: Child) -> None:
        if child is last:
            raise OSError("no such luck")
        end(child)

    monkeypatch.setattr(processes, "end_tree", end_all_but_the_last)
    with pytest.raises(OSError, match="no such luck"):
        supervisor.stop()
    assert first.process.poll() is not None
    end(last)


def test_stopping_twice_does_nothing(supervisor: Supervisor) -> None:
    """Stopping a supervisor a second time does nothing."""
    supervisor.start("sleeper", python(SLEEPER), env=ENV)
    supervisor.stop()
    supervisor.stop()


def test_a_process_is_started_when_it_is_ready(supervisor: Supervisor) -> None:
    """Errors of the question count as not yet."""
    asked = []

    def ready() -> bool:
        asked.append(1)
        if len(asked) < 2:
            raise ConnectionRefusedError
        return len(asked) > 2

    supervisor.start("sleeper", python(SLEEPER), env=ENV, ready=ready)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            lambda supervisor: supervisor.start(
                "bad", python("exit('no luck')"), env=ENV, ready=lambda: False
            ),
            "bad ended with 1",
        ),
        (
            lambda supervisor: supervisor.start(
                "slow", python(SLEEPER), env=ENV, ready=lambda: False, seconds=0.2
            ),
            "slow was not ready within",
        ),
        (
            lambda supervisor: supervisor.run("bad", python("exit('no luck')"), env=ENV),
            "bad failed with 1:\nno luck",
        ),
        (
            lambda supervisor: supervisor.run("slow", python(SLEEPER), env=ENV, seconds=0.2),
            "slow took more than",
        ),
    ],
    ids=["ended", "never ready", "failed", "too slow"],
)
def test_a_failing_or_late_process_raises_an_error(
    supervisor: Supervisor, start: Callable[[Supervisor], object], message: str
) -> None:
    """The error names the process and the failure; the error of a failed command contains its log."""
    with pytest.raises(ProcessFailed, match=message):
        start(supervisor)


def test_a_process_that_died_is_reported(supervisor: Supervisor) -> None:
    """A process that died is reported, one that ended with status 0 is not."""
    supervisor.run("well", python("pass"), env=ENV)
    supervisor.check()
    child = supervisor.start("killed", python(SLEEPER), env=ENV)
    child.process.kill()
    child.process.wait()
    with pytest.raises(ProcessFailed, match="killed ended with -9"):
        supervisor.check()


def test_a_deliberate_kill_leaves_the_children_running(supervisor: Supervisor) -> None:
    """A deliberate kill is not reported as a death and leaves the children running, as a crash would; they
    end with the supervisor.
    """
    child = supervisor.start(
        "family", python(FAMILY.replace('time.sleep(600)"', 'time.sleep(600)  # airflow"')), env=ENV
    )
    supervisor.wait_until(child, lambda: bool(output(child)), seconds=30)
    grandchild = int(output(child))
    supervisor.kill(child)
    supervisor.check()
    assert not lives(child.process.pid)
    assert lives(grandchild)
    supervisor.stop()
    assert not lives(grandchild)


def test_a_process_gets_only_the_environment_it_was_given(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process inherits no variable of the supervisor beyond the given ones."""
    monkeypatch.setenv("AIRFLOW_HOME", "/somebody/elses")
    supervisor.run("env", python("import os; print(os.environ.get('AIRFLOW_HOME'))"), env=ENV)
    assert supervisor_log(supervisor, "env").strip() == "None"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_interrupts_and_handlers_are_restored(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends the supervisor as an interrupt does, and the previous handlers are restored."""
    before = signal.getsignal(number)

    def run() -> None:
        with Supervisor(tmp_path):
            signal.raise_signal(number)

    with pytest.raises(Ended, match=number.name):
        run()
    assert signal.getsignal(number) is before


WHOLE = """
import sys, time
from pathlib import Path
from demo.processes import Supervisor
with Supervisor(Path(sys.argv[1])) as supervisor:
    child = supervisor.start("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"],
                             env={"PATH": "/usr/bin"})
    print(child.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_killed_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """No process outlives a supervisor that a signal ended or killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WHOLE, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENV,
    ) as whole:
        assert whole.stdout is not None
        sleeper = psutil.Process(int(whole.stdout.readline()))
        whole.send_signal(number)
        whole.wait(30)
        _, alive = psutil.wait_procs([sleeper], timeout=10)
        assert alive == []


def test_a_free_port_can_be_listened_on() -> None:
    """The port that is returned can be bound."""
    ports = {free_port() for _ in range(5)}
    assert all(1024 <= port <= 65535 for port in ports)
