"""Runs services as processes of this machine, each in a root folder and under a host name of its own.

Without Docker, namespaces of the kernel do what matters here: the network has loopback only, on which every
service listens and to which every service's name leads, volumes are folders that are mounted where the file
says, and nothing outlives the command. Not imitated: users, limits of memory and a network for each service.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from demo.processes import Child, Supervisor, die_with_parent

from .compose import OWN_IMAGE, ROOT, Mount, Service, image_environment

VENV = ROOT / ".springest" / "cluster"
"""What the image has installed: made by ``make cluster``."""
INSIDE = "SPRINGEST_CLUSTER_INSIDE"
IS_ROOT = os.geteuid() == 0
OWN_FOLDERS = ("bin", "dags", "plugins", "include", "pyproject.toml")
"""What the Dockerfile copies."""
REPLACED = frozenset({"opt", "run", "mnt", "media", "srv", "lost+found"})
"""Folders of this machine that a service doesn't see."""
ENTRYPOINT = """#!/bin/sh
case "$1" in
  airflow) shift ;;
  bash|python) exec "$@" ;;
esac
exec airflow "$@"
"""
"""A stand-in for that of Airflow's image, which also waits for the database and the broker."""


def enter(module: str, arguments: Iterable[str]) -> None:
    """Run a module again, in namespaces of its own; returns if this process is already inside.

    :raises SystemExit: the kernel refuses, or the module has ended; with its exit code.
    """
    if os.environ.get(INSIDE):
        return
    flags = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [sys.executable, "-m", module, *arguments]
    if not IS_ROOT:  # root of the namespaces until they are set up, since PostgreSQL refuses to run as root
        flags.append("--map-root-user")
        command = ["unshare", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}", *command]
    start = f"ip link set lo up && exec {shlex.join(command)}"
    # If this process ends by a signal, unshare is killed, and with it everything inside.
    child = subprocess.Popen(
        ["unshare", *flags, "/bin/sh", "-c", start],
        env={**os.environ, INSIDE: "1"},
        preexec_fn=partial(die_with_parent, signal.SIGKILL),
    )
    try:
        code = child.wait()
    except KeyboardInterrupt:  # the terminal has sent it to the child as well
        code = child.wait()
    raise SystemExit(code)


@dataclass(slots=True)
class Container:
    """A running service.

    :param number: number of the replica, from 1.
    """

    service: Service
    number: int
    child: Child

    @property
    def pid(self) -> int:
        """Its first process, to which a stop is sent."""
        return self.child.process.pid

    @property
    def is_running(self) -> bool:
        """Whether its first process runs."""
        return self.child.process.poll() is None

    def members(self) -> Iterator[psutil.Process]:
        """Return all its processes: those that see its mounts."""
        own = _mounts(self.pid)
        for process in psutil.process_iter():
            if own is not None and _mounts(process.pid) == own:
                yield process


class Containers:
    """Starts, stops and kills services.

    :param folder: for volumes, logs and what services write.
    :param overrides: further environment of every service of this project's image.
    """

    def __init__(self, supervisor: Supervisor, folder: Path, overrides: Mapping[str, str]) -> None:
        self._supervisor = supervisor
        self._folder = folder
        self._overrides = dict(overrides)
        self._starts = 0
        hosts = "127.0.0.1 localhost postgres redis airflow-api-server airflow-scheduler\n"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(hosts, encoding="utf-8")
        (folder / "entrypoint").write_text(ENTRYPOINT, encoding="utf-8")
        (folder / "entrypoint").chmod(0o755)

    def volume(self, name: str) -> Path:
        """Return the folder of a volume."""
        path = self._folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, service: Service, *, number: int = 1) -> Container:
        """Start a service."""
        self._starts += 1
        name = f"{service.name}-{number}"
        script = self._script(service, name, service.command, self._environment(service))
        child = self._supervisor.start(
            f"{self._starts:03d}-{name}",
            [
                "unshare",
                *([] if IS_ROOT else ["--map-root-user"]),
                "--mount",
                "--uts",
                "/bin/sh",
                "-euc",
                script,
            ],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        return Container(service, number, child)

    def run(self, service: Service, *, seconds: float = 300) -> str:
        """Run a one-shot service to its end; return its output.

        :raises RuntimeError: it failed; the text is its output.
        """
        container = self.start(service)
        code = container.child.process.wait(seconds)
        self._supervisor.forget(container.child)
        output = container.child.log_file.read_text(encoding="utf-8", errors="replace")
        if code:
            raise RuntimeError(f"{service.name} ended with {code}:\n{output[-4000:]}")
        return output

    def execute(self, container: Container, command: list[str], *, seconds: float = 120) -> tuple[int, str]:
        """Run a command in a running container; return its exit code and output."""
        user = [] if IS_ROOT else ["--user", "--preserve-credentials"]
        inside = [
            "nsenter",
            "--target",
            str(container.pid),
            *user,
            "--mount",
            "--uts",
            "--root",
            "--wd",
            "--",
        ]
        env = self._environment(container.service)
        done = subprocess.run(
            [*inside, *_with_environment(env, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def is_healthy(self, container: Container) -> bool:
        """Run the service's health check."""
        return self.execute(container, container.service.health)[0] == 0

    def stop(self, container: Container) -> float:
        """Stop a container as Docker does; return how many seconds it took.

        After the grace period everything in it is killed.
        """
        begun = time.monotonic()
        members = list(container.members())
        container.child.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            container.child.process.wait(container.service.stop_seconds)
        seconds = time.monotonic() - begun
        self._end(container, members)
        return seconds

    def kill(self, container: Container) -> None:
        """Kill everything in a container at once, as the end of its machine would."""
        self._end(container, list(container.members()))

    def _end(self, container: Container, members: list[psutil.Process]) -> None:
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        container.child.process.wait()
        self._supervisor.forget(container.child)

    def _environment(self, service: Service) -> dict[str, str]:
        path = {"PATH": f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/opt/airflow"}
        if service.image != OWN_IMAGE:
            return {**path, **service.environment}
        return {**path, **image_environment(), **service.environment, **self._overrides}

    def _source(self, mount: Mount) -> Path:
        return Path(mount.source) if mount.source[0] in "./" else self.volume(mount.source)

    def _script(self, service: Service, name: str, command: list[str], env: Mapping[str, str]) -> str:
        root = self._folder / "roots" / f"{self._starts:03d}-{name}"
        root.mkdir(parents=True)
        lines = ["mount --make-rprivate /", f"mount -t tmpfs root {root}", *_machine(root)]
        mounts = [(self._source(mount), mount.target) for mount in service.mounts]
        if service.image == OWN_IMAGE:
            mounts += [(ROOT / part, f"/opt/airflow/{part}") for part in OWN_FOLDERS]
            mounts += [(self._folder / "config", "/opt/airflow/config")]
            mounts += [(self._folder / "entrypoint", "/entrypoint")]
        for source, target in mounts:
            lines += _bind(source, f"{root}{target}")
        lines += [f"mount --bind {self._folder}/hosts {root}/etc/hosts", f"hostname {name}"]
        lines += [f"exec chroot {root} {shlex.join(_with_environment(env, command, name))}"]
        return "\n".join(lines)


def _with_environment(env: Mapping[str, str], command: list[str], hostname: str | None = None) -> list[str]:
    made = {**env, **({"HOSTNAME": hostname} if hostname else {})}
    settings = [f"{key}={value}" for key, value in made.items()]
    words = ["dumb-init" if word == "/usr/bin/dumb-init" else word for word in command]
    return ["/usr/bin/env", "-i", "--chdir=/opt/airflow", *settings, *words]


def _machine(root: Path) -> Iterator[str]:
    """Return the commands that mount this machine's folders, as the image's own system."""
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            yield f"cp -P {path} {root}/"
        elif path.is_dir() and path.name not in REPLACED:
            yield f"mkdir {root}/{path.name}; mount --rbind {path} {root}/{path.name}"
    yield f"mkdir -p {root}/opt/airflow {root}/run"


def _bind(source: Path, target: str) -> Iterator[str]:
    if source.is_file():
        yield f"touch {target}"
    else:
        yield f"mkdir -p {target}"
    yield f"mount --bind {shlex.quote(str(source))} {target}"


def _mounts(pid: int) -> str | None:
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    return None
