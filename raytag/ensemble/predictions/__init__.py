"""What is searched: the out-of-fold predictions of runs (`oof`) and of files from elsewhere (`external`).

Imports of raytag `raytag.blends`, `raytag.store` and what lies below.
"""
