"""The search: fold × experiment trials on Ray Tune, and who of them goes on.

`race` decides, `searchers` propose, `prepare` looks at the data before anything trains; the `driver` joins them and
knows nothing of Ray, which `tuner` and `trial` import. Imports of raytag whatever lies below but `raytag.ensemble`.
"""
