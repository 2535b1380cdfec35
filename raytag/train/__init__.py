"""Training of one experiment on one fold: plain torch, which knows nothing of Ray.

Imports of raytag `raytag.predict`, `raytag.inputs`, `raytag.models`, `raytag.losses`, `raytag.store` and what lies
below.
"""
