"""Compiled code as such (where numba keeps it, how a node compiles it once), and kernels that several rooms share.

Imports of raytag `raytag.console` alone.
"""
