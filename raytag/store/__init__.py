"""What a run leaves on disk: files and URIs, the run and its folds, the event log, the lease of its driver.

Imports of raytag `raytag.datasets` (the table of clips) and the ground floor; no Ray, and torch only where tensors
are read or written: a command that lists runs must start at once.
"""
