"""Who goes on: decisions as a function of the event log, and what they need to know about folds and clips.

Imports of raytag the features (for the order of folds), `raytag.datasets` and the ground floor; no Ray.
"""
