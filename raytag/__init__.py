"""raytag: distributed hyperparameter and ensemble search for multi-label audio tagging on Ray."""

from raytag.compiled.cache_folder import choose_cache_folder

__version__ = "0.1.0"

choose_cache_folder()  # before anything imports numba
