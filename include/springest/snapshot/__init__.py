"""Reads the list of certificates that Springest shows, and looks up their owners.

May import: api, rate_limit, db and below. Any snapshot may confirm; only a complete one may deny.
"""
