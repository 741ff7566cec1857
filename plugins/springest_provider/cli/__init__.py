"""``bin/springest``: the command line for operators."""
