"""What is chosen, on all folds and without each of them: the ways of choosing a blend, and the exact subset search
spread over the cluster.

Imports of raytag `raytag.ensemble.predictions`, `raytag.cluster`, `raytag.blends` and what lies below.
"""
