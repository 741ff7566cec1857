"""A stand-in for a Kubernetes cluster: what the KubernetesExecutor asks of its API; pods are processes."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from .containers import Container

PORT = 6443
NAMESPACE = "airflow"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_DISCOVERY = {
    "/version": {"major": "1", "minor": "34"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["list"]}
        ],
    },
}


@dataclass(slots=True)
class Pod:
    """A pod.

    :param container: its process, once the kubelet has started it.
    :param killed_at: when the grace period of its deletion ends.
    """

    content: dict[str, Any]
    container: Container | None = None
    killed_at: float | None = None


@dataclass(slots=True)
class _Watcher:
    selector: str
    events: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)


class Cluster:
    """The API, and one node with its kubelet; a context manager.

    :param start: starts the process of a pod, by its content.
    :param kill: ends all of it.
    """

    def __init__(
        self, start: Callable[[dict[str, Any]], Container], kill: Callable[[Container], None]
    ) -> None:
        self._start, self._kill = start, kill
        self._lock = threading.RLock()
        self._watchers: list[_Watcher] = []
        self._version = 1
        self._is_over = threading.Event()
        self.pods: dict[str, Pod] = {}
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", PORT), type("Handler", (_Handler,), {"cluster": self})
        )
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that went away
        # A process ends with the thread that has started it, so one thread starts all.
        self._kubelet = threading.Thread(target=self._run_pods, daemon=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._kubelet.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._kubelet.join()
        self._server.shutdown()
        self._server.server_close()

    def create(self, content: dict[str, Any]) -> dict[str, Any]:
        """Accept a pod."""
        with self._lock:
            content["metadata"] |= {"uid": f"uid-{self._version}", "namespace": NAMESPACE}
            content["status"] = {"phase": "Pending"}
            self.pods[content["metadata"]["name"]] = Pod(content)
            self._tell("ADDED", content)
            return content

    def delete(self, name: str) -> dict[str, Any]:
        """Send SIGTERM to a pod, as its eviction does; after its grace period it is killed."""
        with self._lock:
            pod = self.pods[name]
            if pod.killed_at is None:
                seconds = pod.content["spec"].get("terminationGracePeriodSeconds", 30)
                pod.killed_at = time.monotonic() + seconds
                pod.content["metadata"]["deletionTimestamp"] = datetime.now(UTC).isoformat()
                if pod.container is not None:
                    pod.container.child.process.terminate()
                self._tell("MODIFIED", pod.content)
            return pod.content

    def patch(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        """Change labels."""
        with self._lock:
            content = self.pods[name].content
            content["metadata"]["labels"] |= labels
            self._tell("MODIFIED", content)
            return content

    def list(self, selector: str) -> dict[str, Any]:
        """Return the pods that a selector matches."""
        with self._lock:
            found = [pod.content for pod in self.pods.values() if _matches(selector, pod.content)]
            return {
                "kind": "PodList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(self._version)},
                "items": found,
            }

    def watch(self, selector: str, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield events."""
        watcher = _Watcher(selector)
        with self._lock:
            self._watchers.append(watcher)
            for pod in self.pods.values():
                if _matches(selector, pod.content):
                    watcher.events.put({"type": "ADDED", "object": json.loads(json.dumps(pod.content))})
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until and not self._is_over.is_set():
                with suppress(queue.Empty):
                    yield watcher.events.get(timeout=1)
        finally:
            with self._lock:
                self._watchers.remove(watcher)

    def _tell(self, kind: str, content: dict[str, Any]) -> None:
        self._version += 1
        content["metadata"]["resourceVersion"] = str(self._version)
        for watcher in self._watchers:
            if _matches(watcher.selector, content):
                watcher.events.put({"type": kind, "object": json.loads(json.dumps(content))})

    def _run_pods(self) -> None:
        while not self._is_over.wait(0.1):
            with self._lock:
                for name, pod in list(self.pods.items()):
                    self._advance(name, pod)
        for pod in self.pods.values():
            if pod.container is not None and pod.container.is_running:
                self._kill(pod.container)

    def _advance(self, name: str, pod: Pod) -> None:
        status = pod.content["status"]
        if status["phase"] == "Pending" and pod.killed_at is None:
            pod.container = self._start(pod.content)
            status["phase"] = "Running"
            self._tell("MODIFIED", pod.content)
        elif status["phase"] == "Running" and pod.container is not None:
            code = pod.container.child.process.poll()
            if code is not None:
                status["phase"] = "Failed" if code else "Succeeded"
                self._tell("MODIFIED", pod.content)
            elif pod.killed_at is not None and time.monotonic() > pod.killed_at:
                self._kill(pod.container)
        if pod.killed_at is not None and (pod.container is None or not pod.container.is_running):
            del self.pods[name]
            self._tell("DELETED", pod.content)


def _matches(selector: str, content: dict[str, Any]) -> bool:
    labels = content["metadata"].get("labels", {})
    for term in re.split(r",(?![^(]*\))", selector):
        name, sign, value = re.match(r"([^!=\s]*)\s*(!=|==?|in|notin|)\s*(.*)", term).groups()  # type: ignore[union-attr]
        has = labels.get(name)
        among = [part.strip() for part in value.strip("()").split(",")]
        if not {
            "": not term or has is not None,
            "!=": has != value,
            "in": has in among,
            "notin": has not in among,
        }.get(sign, has == value):
            return False
    return True


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
        selector = asked.get("labelSelector", "")
        if address.path in _DISCOVERY:
            self._answer(_DISCOVERY[address.path])
        elif address.path == _PODS and asked.get("watch", "").lower() == "true":
            self._stream(self.cluster.watch(selector, float(asked.get("timeoutSeconds", 3600))))
        elif address.path == _PODS:
            self._answer(self.cluster.list(selector))
        else:
            self._pod(lambda name: self.cluster.pods[name].content)

    def do_POST(self) -> None:
        self._answer(self.cluster.create(self._body()), status=201)

    def do_PATCH(self) -> None:
        labels = self._body()["metadata"]["labels"]
        self._pod(lambda name: self.cluster.patch(name, labels))

    def do_DELETE(self) -> None:
        self._body()
        self._pod(self.cluster.delete)

    def _pod(self, act: Callable[[str], dict[str, Any]]) -> None:
        try:
            self._answer(act(urlsplit(self.path).path.removeprefix(f"{_PODS}/")))
        except KeyError:
            self._answer(
                {"kind": "Status", "code": 404, "reason": "NotFound", "message": self.path}, status=404
            )

    def _body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def _answer(self, content: dict[str, Any], *, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            for event in events:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Log nothing."""
