"""Which networks are trained: published ranges and constants, and raytag's own."""

from __future__ import annotations

import pytest

from raytag.ensemble.stackers.fcnet import FCNet
from raytag.ensemble.stackers.grid import SOURCES, StackerConfig, draw_configs


@pytest.mark.parametrize("source", ["raytag", "rs_004", "rs_005"])
def test_a_larger_grid_starts_with_the_smaller(source):
    assert draw_configs(40, 3, source)[:5] == draw_configs(5, 3, source)
    assert draw_configs(3, 3, source) != draw_configs(3, 4, source)
    assert len({config.name for config in draw_configs(40, 3, source)}) == 40


RANGES = {
    "raytag": ({64, 128, 256, 512}, {1, 2, 4, 8, 16}, 0.7, (3e-4, 3e-3)),
    "rs_004": ({64, 128, 256, 512}, {2, 4, 8, 16}, 0.5, (1e-5, 1e-4)),
    "rs_005": ({128, 256, 512}, {1, 2, 4, 8}, 0.7, (1e-5, 1e-4)),
}


@pytest.mark.parametrize("source", RANGES)
def test_ranges(source):
    bases, reductions, dropout, (low, high) = RANGES[source]
    configs = draw_configs(200, 0, source)
    assert {c.base_size for c in configs} == bases
    assert {c.reduction_scale for c in configs} == reductions
    assert {c.batch_size for c in configs} == {32, 64, 128}
    assert {c.patience for c in configs} == set(range(3, 12))
    assert 0 <= min(c.dropout for c in configs) < 0.05 * dropout
    assert 0.95 * dropout < max(c.dropout for c in configs) <= dropout
    assert low <= min(c.lr for c in configs) < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < max(c.lr for c in configs) <= high
    assert 0.5 <= min(c.factor for c in configs) < 0.52
    assert 0.78 < max(c.factor for c in configs) <= 0.8
    plan = {(c.reads, c.draws, c.epochs, c.stop) for c in configs}
    assert plan == {("log_odds", 0, 0, 0)} if source == "raytag" else plan == {("probabilities", 32768, 300, 20)}


def test_the_three_chosen_models():
    """Constants of argus-freesound; the sizes are those of its networks on seven experiments of 80 classes."""
    configs = draw_configs(8, 0, "argus")
    assert configs[:2] == draw_configs(2, 5, "argus")
    assert [c.name[-5:] for c in configs] == ["43040", "45041", "50013"]
    assert configs[1] == StackerConfig(
        name="stacking_008_fcnet_45041",
        base_size=512,
        reduction_scale=2,
        dropout=0.48357033916143033,
        lr=3.897529465275052e-05,
        patience=9,
        factor=0.7953702239306087,
        batch_size=128,
        reads="probabilities",
        draws=32768,
        epochs=700,
        stop=30,
    )
    nets = [FCNet(560, 80, c.base_size, c.reduction_scale) for c in configs]
    assert [sum(p.numel() for p in net.parameters()) for net in nets] == [1_180_101, 1_454_746, 1_768_626]


@pytest.mark.parametrize("source", SOURCES)
def test_draws_may_be_fewer(source):
    assert {c.draws for c in draw_configs(3, 0, source, 500)} == {500}


def test_configurations_of_before_mean_the_same():
    stored = {"name": "stacker-000", "base_size": 64, "reduction_scale": 2, "dropout": 0.1, "lr": 1e-3}
    config = StackerConfig(**stored, patience=3, factor=0.5, batch_size=32)
    assert (config.reads, config.draws, config.epochs, config.stop) == ("log_odds", 0, 0, 0)
