"""raytag: distributed hyperparameter and ensemble search for multi-label audio tagging on Ray."""

__version__ = "0.1.0"
