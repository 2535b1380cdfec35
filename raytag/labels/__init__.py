"""Noisy labels: which noisy clips to trust, which curated ones to listen to, and corrections of both.

    raters    the models of a run that may rate a noisy clip: those that were not trained on it
    ratings   how well labels agree with predictions, and the best share of them
    actions   what corrections files and edited tables say, merged

Imports of raytag whatever lies below but `raytag.search`; no Ray.
"""
