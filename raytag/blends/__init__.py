"""The exact mathematics of blends: which subset, bag or weighting of models ranks labels best, and how fast.

From arrays to arrays: `pairs` reduces predictions to what can change, `subsets` searches all subsets, `greedy`,
`exchange` and `weights` choose in other ways, `scorer` says exactly what any of them is worth, `means` blends, and
`cost` predicts how long a search takes. All kernels of the subset search lie here.

Imports of raytag `raytag.compiled` and the ground floor alone: no Ray, no run, no torch.
"""
