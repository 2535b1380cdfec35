"""The second level: models that read the first level's predictions. One case is one set of folds left out.

Imports of raytag `raytag.ensemble.choose` and what lies below.
"""
