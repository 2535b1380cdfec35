"""The trade between fold-epochs spent and true top experiments kept, drawn."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _published import trial_asha
from _replays import PUBLISHED, Arrival, Rule, all_rules, race, replays

from raytag.search.race.replay import Curves
from raytag.search.race.settings import Settings

Point = tuple[float, float]  # share of fold-epochs spent, share of the true best kept

# of the paired race
RUNGS: tuple[tuple[float, ...], ...] = ((), (0.25,), (0.375,), (0.5,), (0.25, 0.5))
ETAS = (1.33, 1.5, 2.0, 3.0)
ZS = (0.0, 0.25, 0.5, 0.75, 1.0)
ASHA_RUNGS = ((0.25,), (0.5,), (0.25, 0.5))
ASHA_ETAS = (1.33, 1.5, 2.0, 3.0, 4.0)

DPI = 150
PANEL_INCHES = (6.4, 5.4)
CAPTION_COLUMNS = 88  # characters of a caption below one panel
MARK_PIXELS = 8  # half the size of a named point's mark
# where a label may stand beside its point, in points: the first place that is free is taken
PLACES = [
    (x, y, side)
    for reach in (1.0, 2.0, 3.2, 4.5)
    for x, y, side in (
        (9 * reach, -3, "left"),
        (-9 * reach, -3, "right"),
        (6 * reach, 11 * reach, "left"),
        (6 * reach, -17 * reach, "left"),
        (-6 * reach, 11 * reach, "right"),
        (-6 * reach, -17 * reach, "right"),
        (0, 13 * reach, "center"),
        (0, -19 * reach, "center"),
    )
]


@dataclass(frozen=True)
class Panel:
    """One table's points."""

    title: str
    grid: list[Point]  # every setting of raytag's paired race
    default: Point
    modes: dict[str, Point]  # raytag's other modes
    published: dict[str, Point]
    asha: list[Point]  # per-trial ASHA with other rungs and eta


def grid(keep: int) -> list[Settings]:
    """Every setting of the paired race; without rungs eta says nothing, and stands there once."""
    return [
        Settings("paired", keep, rungs, eta, z)
        for rungs, eta, z in itertools.product(RUNGS, ETAS, ZS)
        if rungs or eta == Settings.eta
    ]


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats: none spends less and keeps as much. By spend; of equals the first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not found or point[1] > found[-1][1]:
            found.append(point)
    return found


def n_rules() -> int:
    """How many rules `panel` replays."""
    return len(_others(1, 1)) + len(grid(1)) + 1 + len(ASHA_RUNGS) * len(ASHA_ETAS)


def panel(
    title: str, curves: Curves, keep: int, slots: int, orders: Sequence[Arrival], advance: Callable[[float], None]
) -> Panel:
    """Replay every rule; points are means over the orders of arrival."""

    def point(rule: Rule) -> Point:
        rows = replays(curves, rule, orders, keep, advance)
        return float(rows["spent"].mean()), float(rows["kept"].mean()) / keep

    others = {name: point(rule) for name, rule in _others(keep, slots).items()}
    return Panel(
        title=title,
        grid=[point(race(settings, slots)) for settings in grid(keep)],
        default=point(race(replace(Settings(), keep=keep), slots)),
        modes={name: p for name, p in others.items() if name not in PUBLISHED},
        published={name: p for name, p in others.items() if name in PUBLISHED},
        asha=[point(_asha(rungs, eta)) for rungs, eta in itertools.product(ASHA_RUNGS, ASHA_ETAS)],
    )


def _others(keep: int, slots: int) -> dict[str, Rule]:
    """The rules beside the paired race; raytag's full cross-validation is like anyone's."""
    rules = all_rules(keep, slots)
    return {name: rule for name, rule in rules.items() if name not in ("raytag none", "raytag paired")}


def _asha(rungs: Sequence[float], eta: float) -> Rule:
    return lambda curves, order: trial_asha(curves, order, rungs, eta)


def pyplot() -> Any:
    """matplotlib, drawing to files.

    Raises
    ------
    ValueError
        It is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError("--figure needs matplotlib: pip install -e '.[dev]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def draw(path: Path, panels: Sequence[Panel], caption: str) -> None:
    """One panel a table, side by side, into a PNG (or whatever the suffix names)."""
    plt = pyplot()
    wide, high = PANEL_INCHES
    figure, axes = plt.subplots(1, len(panels), figsize=(wide * len(panels), high + 0.35), squeeze=False)
    for ax, shown in zip(axes[0], panels, strict=True):
        _panel(ax, shown)
    caption += (
        f"; dots: {len(panels[0].grid)} settings of raytag's paired race (rungs, eta, z); small diamonds: "
        f"{len(panels[0].asha)} of per-trial ASHA (rungs, eta)"
    )
    lines = textwrap.wrap(caption, CAPTION_COLUMNS * len(panels))
    figure.text(0.5, 0.012, "\n".join(lines), ha="center", va="bottom", fontsize=9, color="0.35")
    figure.tight_layout(rect=(0, 0.01 + 0.028 * len(lines), 1, 1))
    for ax, shown in zip(axes[0], panels, strict=True):  # after the layout: labels are placed in pixels
        _labels(figure, ax, shown)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _panel(ax: Any, panel: Panel) -> None:
    ax.scatter(*zip(*panel.grid, strict=True), s=11, color="#7aa6d8", alpha=0.65, linewidths=0, zorder=2)
    ax.plot(*zip(*frontier(panel.grid), strict=True), color="#1f5fa8", linewidth=1.6, zorder=3)
    ax.scatter(
        *zip(*panel.asha, strict=True), s=11, marker="D", color="#c9783a", alpha=0.65, linewidths=0, zorder=2
    )
    ax.plot(*zip(*frontier(panel.asha), strict=True), color="#c9783a", linewidth=1.1, zorder=3)
    ax.scatter(*zip(*panel.published.values(), strict=True), s=52, marker="D", color="#c9783a", zorder=4)
    ax.scatter(*zip(*panel.modes.values(), strict=True), s=46, marker="s", color="#1f5fa8", zorder=4)
    ax.scatter(*panel.default, s=170, marker="*", color="#0b3566", edgecolor="white", linewidths=0.8, zorder=5)
    ax.set_title(panel.title, fontsize=11)
    ax.set_xlabel("fold-epochs spent, share of full cross-validation", fontsize=10)
    ax.set_ylabel("share of the true best kept", fontsize=10)
    ax.set_xlim(0, 1.06)
    ax.set_ylim(-0.03, 1.09)
    ax.grid(color="0.9", linewidth=0.7, zorder=0)
    ax.set_axisbelow(True)


def _labels(figure: Any, ax: Any, panel: Panel) -> None:
    """Names beside the points, each where it covers no other name and as little else as possible."""
    renderer = figure.canvas.get_renderer()
    named = {"raytag paired (default)": panel.default, **panel.modes, **panel.published}
    marks = [ax.transData.transform(p) for p in named.values()]
    lines = [_dense(points) for points in (frontier(panel.grid), frontier(panel.asha))]
    drawn = [ax.transData.transform(p) for p in [*panel.grid, *panel.asha, *lines[0], *lines[1]]]
    edge = frontier(panel.grid)
    named["raytag paired, frontier"] = edge[len(edge) // 3]
    boxes: list[Any] = []
    for name, point in named.items():
        color = "#0b3566" if "raytag" in name else "#8f4a14"
        best, least = None, float("inf")
        for x, y, side in PLACES:
            text = ax.annotate(
                name, point, xytext=(x, y), textcoords="offset points", ha=side, fontsize=9, color=color, zorder=6
            )
            box = text.get_window_extent(renderer)
            inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 and ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
            cost = 1000.0 * (not inside) + 100.0 * sum(box.overlaps(b) for b in boxes)
            cost += 20.0 * sum(box.padded(MARK_PIXELS).contains(*p) for p in marks)
            cost += sum(box.contains(*p) for p in drawn) + 0.05 * (abs(x) + abs(y))
            if cost < least:
                if best is not None:
                    best.remove()
                best, least = text, cost
            else:
                text.remove()
        if best is not None:
            boxes.append(best.get_window_extent(renderer).padded(2))


def _dense(points: Sequence[Point]) -> list[Point]:
    """Points along a line, 20 a segment."""
    return [
        (a[0] + (b[0] - a[0]) * i / 20, a[1] + (b[1] - a[1]) * i / 20)
        for a, b in itertools.pairwise(points)
        for i in range(20)
    ]
