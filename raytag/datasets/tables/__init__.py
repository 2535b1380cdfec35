"""Tables as people write them: delimiters and encodings, labels in cells, names of files.

Imports of raytag `raytag.datasets.findings`, `.listing` and `.table`.
"""
