"""All that concerns compiled code as such: where numba keeps it, and how a node compiles it once.

Imports of raytag `raytag.console` alone.
"""
