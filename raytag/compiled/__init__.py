"""All that concerns compiled code as such: where numba keeps it, and how a node compiles it once.

Imports nothing of raytag but `raytag.console`.
"""
