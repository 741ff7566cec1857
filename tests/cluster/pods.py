"""``python -m tests.cluster.pods``: a night with the KubernetesExecutor, whose delivering pod is evicted."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import yaml

from demo.airflow_home import PROJECT
from demo.world import alone
from tests.chaos.ledger import Ledger
from tests.chaos.proof import failures

from .__main__ import HURRIED, POLICY
from .compose import Mount, read
from .containers import Container, enter
from .kubernetes import NAMESPACE, PORT, Cluster
from .nights import CHART, WORKER, Nights
from .stack import Stack, started

FOLDER = PROJECT / ".springest" / "cluster-pods"
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{PORT}"}}],
    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    "users": [{"name": "here", "user": {}}],
}
SETTINGS = {
    "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": NAMESPACE,
    "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
    "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE": "/opt/airflow/config/kubeconfig",
    "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": "/opt/airflow/config/pod.yaml",
}
EVICTED_AFTER = (40, 140)
"""POSTs after which the delivering pod is evicted."""


def main() -> int:
    """Play the night.

    :returns: 0 if nothing was doubled, lost or left unknown.
    """
    enter("tests.cluster.pods", sys.argv[1:])
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:5.0f} s  {text}", flush=True)

    with ExitStack() as stack:
        stack.enter_context(alone(FOLDER))
        documents, config = FOLDER / "certificates", FOLDER / "config"
        for folder in (documents, config):
            folder.mkdir()
        shutil.copy(POLICY, config)
        (config / "kubeconfig").write_text(yaml.safe_dump(KUBECONFIG), encoding="utf-8")
        values = {"AIRFLOW_EXECUTOR": "KubernetesExecutor", "CERTIFICATES_FOLDER": str(documents)}
        services = read(values)
        worker = read({**values, "COMPOSE_PROFILES": "celery"})[WORKER]
        (config / "pod.yaml").write_text(yaml.safe_dump(_template(worker.environment)), encoding="utf-8")
        running = stack.enter_context(
            started(FOLDER, services=services, overrides={**HURRIED, **SETTINGS}, say=say)
        )
        mounts = [mount for mount in worker.mounts if not mount.source.startswith("secrets")]
        cluster = stack.enter_context(_cluster(running, mounts))
        nights = stack.enter_context(Nights.prepared(running, FOLDER, say))
        wrong = nights.play_with_pods(cluster, EVICTED_AFTER)
        wrong += [*failures(Ledger(nights.world).evidence())]
    print(*(f"WRONG  {failure}" for failure in wrong), "Not passed" if wrong else "Passed.", sep="\n")
    if not wrong:
        shutil.rmtree(FOLDER, ignore_errors=True)
    return 1 if wrong else 0


def _template(environment: dict[str, str]) -> dict:
    """Return the pod template that the chart would make of the values, as far as it concerns a process."""
    workers = yaml.safe_load(CHART.read_text(encoding="utf-8"))["workers"]["kubernetes"]
    kept = {
        name: value for name, value in environment.items() if "CELERY" not in name and "DUMB_INIT" not in name
    }
    settings = {**kept, **HURRIED, "AIRFLOW__CORE__EXECUTOR": "LocalExecutor"}
    base = {
        "name": "base",
        "image": "springest-airflow:0.1.0",
        "command": workers["command"],
        "env": [{"name": name, "value": value} for name, value in settings.items()],
    }
    grace = workers["terminationGracePeriodSeconds"]
    spec = {"containers": [base], "restartPolicy": "Never", "terminationGracePeriodSeconds": grace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-pod"}, "spec": spec}


def _cluster(stack: Stack, mounts: list[Mount]) -> Cluster:
    pod = replace(stack.services["airflow-scheduler"], name="pod", mounts=mounts)
    number = 0

    def start(content: dict) -> Container:
        nonlocal number
        number += 1
        [base] = content["spec"]["containers"]
        environment = {item["name"]: item.get("value", "") for item in base["env"]}
        command = [*base["command"], *base["args"]]
        return stack.containers.start(replace(pod, command=command, environment=environment), number=number)

    return Cluster(start, stack.containers.kill)


if __name__ == "__main__":
    sys.exit(main())
