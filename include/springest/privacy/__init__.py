"""Learners' privacy: the learner secret, erasure and its tombstones, retention of attempts' details.

May import: db, source and below. ``identity.py`` and ``redaction.py`` are below, since every layer uses them.
"""
