"""The cluster as every command meets it: joining or starting Ray, and what fits on its nodes.

Imports nothing of raytag but `raytag.console`.
"""
