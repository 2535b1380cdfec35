"""The networks themselves: torch modules, imported when one is built.

Imports torch and `raytag.models.blocks`.
"""
