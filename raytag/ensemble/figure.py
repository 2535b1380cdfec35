"""The figure of score against ensemble size."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raytag.ensemble.assess.assessment import Assessment
from raytag.ensemble.choose.ways import WAYS


def sizes_figure(sizes: pd.DataFrame, assessment: Assessment, title: str) -> bytes:
    """Draw the best subset of each size, in-sample and nested, beside the best single model and what was kept.

    Parameters
    ----------
    sizes : pd.DataFrame
        Columns size, in_sample, nested (NaN where nothing could be left out), exact.
    assessment : Assessment
    title : str

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    axes = figure.subplots()
    x = sizes["size"].to_numpy()
    axes.plot(x, sizes["in_sample"], "o-", color="tab:orange", label="best subset, in-sample")
    nested = sizes["nested"].to_numpy(dtype=np.float64)
    if not np.isnan(nested).any():
        axes.plot(x, nested, "o-", color="tab:blue", label="best subset, nested")
        axes.fill_between(x, nested, sizes["in_sample"], color="tab:orange", alpha=0.12, label="subset optimism")
        single, final = assessment.ways["single"], assessment.final
        axes.axhline(single.nested, color="gray", ls=":", label=f"{WAYS['single'].title}, nested")
        axes.axhline(final.nested, color="black", ls="--", lw=1, label=f"kept ({WAYS[final.way].title}), nested")
        axes.axhspan(final.interval.low, final.interval.high, color="black", alpha=0.05, label="its 95 % interval")
    other = sizes[~sizes["exact"]]
    if len(other):
        axes.plot(other["size"], other["in_sample"], "o", mfc="white", color="tab:orange", label="not every subset")
    axes.set(xlabel="members", ylabel="lwlrap", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
