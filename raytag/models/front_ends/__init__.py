"""What is computed on the device between the input and the network: a front end a file, or two that share much.

A front end has no weights. Imports of raytag the ground floor; torch when one is built and not before.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Every front end that an experiment can name, and where its fields stand.
FRONT_ENDS: Mapping[str, str] = {
    "AsIs": "raytag.models.front_ends.as_is:AsIs",
    "MagnitudeMel": "raytag.models.front_ends.magnitude:MagnitudeMel",
    "MagnitudeSTFT": "raytag.models.front_ends.magnitude:MagnitudeSTFT",
    "Mel": "raytag.models.front_ends.spectra:Mel",
    "STFT": "raytag.models.front_ends.spectra:STFT",
}
