"""The warehouse: engines, schema, views, functions, roles, migrations, advisory locks, SQL files.

May import: states, verification, errors. Knows no rule of the domain.
"""
