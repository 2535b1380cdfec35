"""What a run keeps of its user: files that experiments name.

Imports of raytag `raytag.store.files` and below.
"""
