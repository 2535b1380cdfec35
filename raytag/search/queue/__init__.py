"""What is trained next: what the race wants, and before it what that learns from.

Imports of raytag whatever lies below `raytag.search`, and of that its race.
"""
