"""A fake Springest server for development: documented behaviour, quirks and faults on demand, over real HTTP.

It shares no code with ``include/springest``, so that it cannot share its mistakes.
"""
