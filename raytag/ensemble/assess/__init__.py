"""What a choice is worth: in-sample and nested scores of every way, intervals, and which one is kept.

Imports of raytag `raytag.ensemble.stackers` and what lies below.
"""
