"""From a bank to batches: one folder a way, with its augmentation, its tiles and its checks.

Imports of raytag `raytag.features` (the bank), `raytag.compiled` and the ground floor.
"""
