"""``python -m demo.compose_trial``: data for docker-compose.yaml's profile ``sandbox``, for a first night.

It fills the source with a night of trainings, writes their documents and the sandbox's certifications, and
begins the site. It can be repeated at each start, and changes nothing that exists.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import URL, create_engine, select
from sqlalchemy.pool import NullPool

from demo import source_database
from demo.compose import TRIAL
from demo.compose_secrets import read_secret
from demo.nights import LISTED, Expected, Training, nights
from demo.pdf import make_pdf
from springest.db.engines import warehouse_engine
from springest.errors import ConfigurationError
from springest.staging.window import begin_site
from springest_provider.factories import warehouse_url

ROWS: Final = 60
SEED: Final = 7
SANDBOX: Final = Path("/opt/airflow/sandbox")


def fill_source(documents: Path) -> int:
    """Create the source's tables, and fill empty ones; return the number of rows that were added."""
    password = read_secret("trial", "source_owner")
    url = URL.create("postgresql+psycopg", "source_owner", password, "postgres", 5432, "source")
    engine = create_engine(url, poolclass=NullPool)
    moment = datetime.now(UTC)
    [night] = nights(SEED, first=moment.date() - timedelta(days=1), count=1, rows=ROWS, root=str(documents))
    write_documents(night.trainings, documents)
    source_database.create_schema(engine)
    with engine.connect() as connection:
        if connection.scalar(select(source_database.completed_training.c.row_number).limit(1)) is not None:
            return 0
    return source_database.add(engine, night.trainings, now=moment)


def write_documents(trainings: tuple[Training, ...], folder: Path) -> None:
    """Write a document for each training that has a good one; the others show what is set aside."""
    for training in trainings:
        path = Path(training.certificate_uri)
        if training.expected is Expected.SENT and path.parent == folder and not path.exists():
            path.write_bytes(make_pdf(training.training_id))


def begin() -> str:
    """Begin the site a day ago; return the result in words."""
    engine = warehouse_engine(warehouse_url("certificate_warehouse"))
    try:
        with engine.begin() as connection:
            begin_site(connection, site="default", begin_from=datetime.now(UTC) - timedelta(days=1))
    except ConfigurationError as error:
        return str(error)
    finally:
        engine.dispose()
    return "the site has begun"


def main() -> int:
    """Do all of it."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    (SANDBOX / "certifications.json").write_text(json.dumps(LISTED), encoding="utf-8")
    print(f"{fill_source(Path(TRIAL))} rows added to the source")
    print(begin())
    return 0


if __name__ == "__main__":
    sys.exit(main())
