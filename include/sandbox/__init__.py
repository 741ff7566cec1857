"""A Springest to develop against: the documented behaviour, its quirks, and faults on demand, over real HTTP.

It shares no code with ``include/springest``, so that it can't share its mistakes.
"""
