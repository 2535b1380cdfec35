"""What a run keeps once for many experiments or models: users' files, and sets of clips that were trained on.

Imports of raytag `raytag.store.files` and below.
"""
