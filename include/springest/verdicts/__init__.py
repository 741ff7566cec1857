"""Computes a verification status for each delivery, and publishes verdicts that pass their checks.

May import: matching, snapshot, db and below. The rules are in ``sql/compute_verdicts.sql``.
"""
