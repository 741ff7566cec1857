"""A certificate a mapped task: what a DAG of HttpOperators costs. Run by `airflow dags test`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG
from urllib3.filepost import encode_multipart_formdata

from benchmarks.contenders.job import Job, fields

JOB = Job(**json.loads(os.environ["BENCHMARK_JOB"]))


class CertificateOperator(HttpOperator):
    """
    Post one certificate.

    :param number: which one.
    """

    def __init__(self, *, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Any) -> Any:
        """Read the document, and post it."""
        path = JOB.paths()[self.number]
        form = {**fields(self.number), "file": (path.name, path.read_bytes(), "application/pdf")}
        self.data, content_type = encode_multipart_formdata(form)
        self.headers = {"Content-Type": content_type}
        return super().execute(context)


with DAG("mapped_operators", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    CertificateOperator.partial(
        task_id="post",
        http_conn_id="benchmark_http",
        endpoint="certificates.xml?api_key=benchmark",
        method="POST",
        log_response=False,
    ).expand(number=list(range(JOB.count)))
