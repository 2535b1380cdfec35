"""The grid: argus's ranges, shapes that repeat."""

from __future__ import annotations

from raytag.ensemble.stackers.grid import draw_configs


def shape(config):
    return config.base_size, config.reduction_scale, config.batch_size


def test_a_larger_grid_starts_with_the_smaller():
    assert draw_configs(40, 3)[:5] == draw_configs(5, 3)
    assert draw_configs(3, 3) != draw_configs(3, 4)


def test_sixteen_shapes_repeat():
    for seed in range(20):
        shapes = [shape(c) for c in draw_configs(48, seed)]
        assert len(set(shapes[:16])) == 16
        assert shapes[16:32] == shapes[32:] == shapes[:16]
        assert all(len({s[0] for s in shapes[i : i + 4]}) == 4 for i in range(0, 16, 4))
    assert len({tuple(shape(c) for c in draw_configs(16, seed)) for seed in range(5)}) == 5


def test_ranges():
    configs = draw_configs(64, 0)
    for config in configs:
        assert config.base_size in (64, 128, 256, 512)
        assert config.reduction_scale in (1, 2, 4, 8, 16)
        assert config.batch_size in (32, 64, 128)
        assert 0 <= config.dropout <= 0.7
        assert 3e-4 <= config.lr <= 3e-3
        assert 3 <= config.patience <= 11
        assert 0.5 <= config.factor <= 0.8
    assert len({c.name for c in configs}) == len({c.lr for c in configs}) == 64
