"""Each operation on vectors against numpy; nothing beside a vector is read or written."""

from __future__ import annotations

import operator
import pickle

import numpy as np
import pytest
from numba import TypingError, njit, types

from raytag.compiled import vectors
from raytag.compiled.vectors import LANES, as_float32, count_at_most, maximum, store, store_transposed, sum_lanes

FUSED = (vectors.load, vectors.splat, LANES, np.float32)
FLOATS = (*vectors.vector(types.float32, 32), 32, np.float32)
SHORTS = (*vectors.vector(types.int16, 32), 32, np.int16)
AWKWARD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38, -1.5], np.float32)


def binary(load, function):
    @njit
    def kernel(out, a, b):
        store(out, 1, function(load(a, 1), load(b, 1)))

    return kernel


def result_of(kernel, lanes, *arrays, dtype=None):
    """What a kernel stores from element 1 on."""
    out = np.full(lanes + 2, 77, dtype or arrays[0].dtype)
    kernel(out, *arrays)
    assert (out[0], out[-1]) == (77, 77)
    return out[1:-1]


def two_arrays(lanes, dtype):
    rng = np.random.default_rng(1)
    if dtype == np.int16:
        return rng.integers(-(2**15), 2**15, (2, lanes + 2)).astype(dtype)
    return np.stack([np.resize(rng.permutation(AWKWARD), lanes + 2), np.resize(AWKWARD, lanes + 2)])


@pytest.mark.parametrize("kind", [FUSED, FLOATS, SHORTS], ids=["fused", "floats", "shorts"])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
@np.errstate(all="ignore")
def test_operators_are_those_of_numpy(kind, name):
    load, _, lanes, dtype = kind
    function = getattr(operator, name)
    a, b = two_arrays(lanes, dtype)
    kernel = binary(load, function)
    if name == "truediv" and dtype == np.int16:
        with pytest.raises(TypingError, match="truediv"):
            kernel(a.copy(), a, b)
        return
    np.testing.assert_array_equal(result_of(kernel, lanes, a, b), function(a, b)[1:-1])


def test_vectors_of_two_kinds_do_not_mix():
    floats = FLOATS[0]

    @njit
    def kernel(a):
        return sum_lanes(vectors.load(a, 0) + floats(a, 0))

    with pytest.raises(TypingError):
        kernel(np.ones(32, np.float32))


@pytest.mark.parametrize("kind", [FUSED, FLOATS, SHORTS], ids=["fused", "floats", "shorts"])
def test_splat_fills_every_lane(kind):
    _, splat, lanes, dtype = kind

    @njit
    def kernel(out, number):
        store(out, 1, splat(number))

    assert result_of(kernel, lanes, dtype(-3), dtype=dtype).tolist() == [-3] * lanes


def test_arrays_of_any_shape_count_as_flat():
    load = vectors.load

    @njit
    def kernel(out, array):
        store(out, 1, load(array, 19))

    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    np.testing.assert_array_equal(result_of(kernel, LANES, array), np.arange(19, 19 + LANES))


def squares_above(load, splat):
    @njit
    def kernel(out, a):
        store(out, 1, load(a, 0) * load(a, 0) - splat(np.float32(1 + 2.0**-11)))

    return kernel


def test_only_fused_vectors_round_a_product_and_a_sum_once():
    """Fusing is leave, not a duty: what the processor has not is rounded twice."""
    a = np.full(32, 1 + 2.0**-12, np.float32)
    twice = a * a - np.float32(1 + 2.0**-11)
    once = (a.astype(float) ** 2 - (1 + 2.0**-11)).astype(np.float32)
    for (load, splat, lanes, _), allowed in ((FUSED, (once[0], twice[0])), (FLOATS, (twice[0],))):
        assert set(result_of(squares_above(load, splat), lanes, a)) <= set(allowed)


@pytest.mark.parametrize("kind", [FUSED, FLOATS], ids=["fused", "floats"])
def test_the_maximum_is_the_second_where_either_is_nan(kind):
    load, _, lanes, dtype = kind
    a, b = two_arrays(lanes, dtype)
    a[3], b[3], a[4], b[4], a[5], b[5] = np.nan, 2, 3, np.nan, -0.0, 0.0
    found = result_of(binary(load, maximum), lanes, a, b)
    expected = np.where(a > b, a, b)[1:-1]
    assert found.tobytes() == expected.tobytes()
    assert found[2] == 2
    assert np.isnan(found[3])
    assert not np.signbit(found[4])


def test_counts_grow_where_a_is_at_most_b():
    load, _, lanes, _ = SHORTS
    a, b = two_arrays(lanes, np.int16)
    b[::3] = a[::3]
    counts = np.arange(len(a), dtype=np.int16)

    @njit
    def kernel(out, counts, a, b):
        store(out, 1, count_at_most(load(counts, 1), load(a, 1), load(b, 1)))

    np.testing.assert_array_equal(result_of(kernel, lanes, counts, a, b), (counts + (a <= b))[1:-1])


def test_integers_become_floats_that_can_be_added_to_others():
    load, _, lanes, _ = SHORTS
    load_float = FLOATS[0]
    a, _ = two_arrays(lanes, np.int16)
    b = np.linspace(1, 2, len(a), dtype=np.float32)

    @njit
    def kernel(out, a, b):
        store(out, 1, as_float32(load(a, 1)) / load_float(b, 1))

    np.testing.assert_array_equal(result_of(kernel, lanes, a, b, dtype=np.float32), (a / b)[1:-1])


@pytest.mark.parametrize("kind", [FUSED, FLOATS], ids=["fused", "floats"])
def test_lanes_are_summed_by_halving(kind):
    load, _, lanes, dtype = kind

    @njit
    def kernel(array):
        return sum_lanes(load(array, 1))

    array = np.random.default_rng(2).normal(0, 1, lanes + 2).astype(dtype)
    expected = array[1:-1]
    while len(expected) > 1:
        expected = expected[: len(expected) // 2] + expected[len(expected) // 2 :]
    assert kernel(array) == expected[0]


def test_a_power_of_two_is_split_off():
    @njit
    def kernel(out, a, exponents):
        m, e = vectors.split_power_of_two(vectors.load(a, 1))
        store(out, 1, m)
        store(exponents, 0, e)

    tiny = np.finfo(np.float32).tiny
    numbers = [1, np.sqrt(0.5), np.nextafter(np.float32(np.sqrt(0.5)), np.float32(0)), np.sqrt(2), 3, tiny, 3.4e38]
    a = np.resize(np.array(numbers, np.float32), LANES + 2)
    exponents = np.empty(LANES, np.float32)
    m = result_of(kernel, LANES, a, exponents)
    np.testing.assert_array_equal(np.ldexp(m, exponents.astype(int)), a[1:-1])
    assert m.min() >= np.float32(np.sqrt(0.5))
    assert m.max() < np.sqrt(2)


@pytest.mark.parametrize("shape", [(LANES, LANES), (LANES, 40), (23, 33)])
def test_a_tile_is_transposed_and_nothing_else_is_written(shape):
    @njit
    def kernel(source, start, source_step, target, place, target_step):
        store_transposed(source, start, source_step, target, place, target_step)

    source = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    row, column = shape[0] - LANES, shape[1] - LANES
    target = np.full((LANES + 3, LANES + 5), -1, np.float32)
    expected = target.copy()
    expected[2 : 2 + LANES, 4 : 4 + LANES] = source[row:, column:].T
    kernel(source, row * shape[1] + column, shape[1], target, 2 * target.shape[1] + 4, target.shape[1])
    np.testing.assert_array_equal(target, expected)


def test_numba_can_store_the_type_with_compiled_code():
    kind = vectors.Vector(types.int16, 32, fused=False)
    assert pickle.loads(pickle.dumps(kind)) == kind
    assert kind != vectors.Vector(types.int16, 16, fused=False)
    assert vectors.Vector(types.float32, 16, fused=False) != vectors.Vector(types.float32, 16, fused=True)
