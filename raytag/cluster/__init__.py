"""The cluster as every command meets it: joining or starting Ray, what fits on its nodes, whether they see the
same files, and work in pieces that outlives its workers.

Imports of raytag `raytag.store.files` and the ground floor alone. Here Ray may be imported, as in `search.tuner`,
`search.trial` and `features.cache`, and nowhere else.
"""
