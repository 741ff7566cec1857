"""Airflow's side: hooks, operators and the command line over the ``springest`` package.

May import: Airflow and ``springest``; never ``dags``, the sandbox or the demo.
"""
