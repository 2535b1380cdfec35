"""What is worth caching of a recording: a feature set a file, with its fields beside what they configure.

Imports of raytag the rest of `raytag.features`, inside methods: an experiment is read without them.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Every feature set that an experiment can name, and where its fields stand.
FEATURES: Mapping[str, str] = {
    "LogMels": "raytag.features.sets.logmels:LogMels",
    "Waveforms": "raytag.features.sets.waveforms:Waveforms",
}
