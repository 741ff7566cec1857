"""`make demo` and other tooling: an embedded PostgreSQL, a real Airflow, invented people. Never shipped."""
