"""``bin/springest``: what an operator sees and decides from a terminal."""
