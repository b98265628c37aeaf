"""Arithmetic on arrays in place, compiled by Numba. Nothing here checks, logs, raises or allocates frames."""
