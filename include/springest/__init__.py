"""Deliver training certificates to Springest and reconcile what became of them: the domain, without Airflow.

Packages import downwards only: ``tests/unit/project/test_layout.py`` lists their order. Documents, the wire,
the clock and Variables are handed in by ``springest_provider``.
"""
