"""The cluster as every command meets it: joining or starting Ray, what fits on its nodes, whether they see the
same files, and work in pieces that outlives its workers.

Imports of raytag `raytag.store.files` and the ground floor alone. Here Ray may be imported, as in
`raytag.search.tuner`, `raytag.search.trial` and `raytag.features.cache`, and nowhere else.
"""
