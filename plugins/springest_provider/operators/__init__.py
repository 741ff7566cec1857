"""Operators, a module for each DAG."""
