"""What distinguishes the data of two runs, or of a run and of today, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd


def replaced_clips(a: Mapping[str, str] | None, b: Mapping[str, str] | None) -> list[str]:
    """Clips whose recordings differ in two tables of contents; none where either is not known."""
    return sorted(clip for clip, content in (a or {}).items() if (b or {}).get(clip, content) != content)


def difference(
    old: Mapping[str, Any],
    old_clips: pd.DataFrame,
    new: Mapping[str, Any],
    new_clips: pd.DataFrame,
    there: str = "there",
    now: str = "now",
) -> str:
    """What distinguishes two tables of clips, in words.

    Parameters
    ----------
    old, new : mapping
        With ``classes`` and ``n_folds``, as in ``run.json``.
    old_clips, new_clips : pd.DataFrame
        See `RunStore.clips`.
    there, now : str
        What the two are called: ``"5 folds there, 4 now"``.
    """
    found = []
    if old["classes"] != new["classes"]:
        gone = sorted(set(old["classes"]) - set(new["classes"]))
        more = sorted(set(new["classes"]) - set(old["classes"]))
        changes = [f"without {', '.join(gone[:5])}" if gone else "", f"with {', '.join(more[:5])}" if more else ""]
        found.append(f"the classes differ: {now} " + (" and ".join(c for c in changes if c) or "in another order"))
    if old["n_folds"] != new["n_folds"]:
        found.append(f"{old['n_folds']} folds {there}, {new['n_folds']} {now}")
    a, b = old_clips.set_index("clip"), new_clips.set_index("clip")
    lost, added = a.index.difference(b.index), b.index.difference(a.index)
    if len(lost):
        found.append(f"{len(lost)} clips are missing {now} (first {lost[0]})")
    if len(added):
        only = "new" if now == "now" else f"only {now}"
        found.append(f"{len(added)} clips are {only} (first {added[0]})")
    both = a.index.intersection(b.index)
    for column in ("labels", "fold", "group", "subset"):
        changed = both[(a.loc[both, column] != b.loc[both, column]).to_numpy()]
        if len(changed):
            clip = changed[0]
            found.append(
                f"{column} of {len(changed)} clips differs (first {clip}: "
                f"{json.dumps(str(a.loc[clip, column]))} {there}, {json.dumps(str(b.loc[clip, column]))} {now})"
            )
    return "; ".join(found) or "their order differs"
