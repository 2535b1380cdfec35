"""Before anything trains: what cannot run on the data, what is planned, and how long it would take.

Imports of raytag whatever lies below `raytag.search`, and of that its race and searchers.
"""
