"""Drains the queue: claims one certificate at a time, POSTs it at most once, and records the outcome.

May import: staging, source, api, rate_limit, db and below.
"""
