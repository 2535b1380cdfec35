"""Stages that learn from stages: where weights begin, and which labels earlier experiments helped to make.

Imports of raytag `raytag.store` and below, `raytag.predict` and the rest of `raytag.train`, inside methods: an
experiment is read without them.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Every beginning that an experiment can name, and where its fields stand.
INITS: Mapping[str, str] = {
    "Fresh": "raytag.train.stages.init:Fresh",
    "ParentWeights": "raytag.train.stages.init:ParentWeights",
    "WeightsFile": "raytag.train.stages.init:WeightsFile",
}
#: Every rule by which an earlier experiment chooses or labels clips, and where its fields stand.
PSEUDOS: Mapping[str, str] = {
    "Given": "raytag.train.stages.given:Given",
    "Top": "raytag.train.stages.noisy:Top",
    "Match": "raytag.train.stages.noisy:Match",
    "Relabel": "raytag.train.stages.noisy:Relabel",
    "Merge": "raytag.train.stages.noisy:Merge",
    "Rest": "raytag.train.stages.noisy:Rest",
}
