"""The spaces of ex4sperans hold the published values, and train in their small form."""

from __future__ import annotations

import itertools

import pytest

from raytag import space

#: network, front end's channels, aggregation, base size, dropout, mixup, effects, chunks, epochs, plain from on
PUBLISHED = {
    "basic_2d": ("TwoDimensionalCNN", 2, "max", 50, 0.0, 0.0, 0.0, 0.5, 20, 15),
    "augmented_2d": ("TwoDimensionalCNN", 2, "max", 100, 0.5, 0.5, 0.75, 0.5, 100, 90),
    "augmented_1d": ("HierarchicalCNN", 1, "max", 100, 0.5, 0.5, 0.75, 0.5, 100, 90),
    "rnn_2d": ("TwoDimensionalCNN", 2, "rnn", 50, 0.5, 0.5, 0.75, 0.0, 100, 90),
    "rnn_1d": ("HierarchicalCNN", 1, "rnn", 100, 0.5, 0.5, 0.75, 0.0, 100, 90),
}


def experiments():
    return {e.name: e for name in ("2d", "1d", "rnn") for e in space.load(f"ex4sperans_{name}").firsts}


def test_they_are_as_published():
    found = experiments()
    assert set(found) == set(PUBLISHED)
    for name, e in found.items():
        network, channels, aggregation, base, dropout, mixed, effects, chunks, epochs, plain = PUBLISHED[name]
        own, front, read, rate = e.model, e.front_end, e.input, e.schedule
        assert (own.name, own.aggregation, own.base_size, own.dropout) == (network, aggregation, base, dropout)
        assert (own.blocks, own.growth, own.first_read) == (5, 1.5, 1)
        assert (read.mix_prob, read.effects_prob, read.chunks_prob, read.max_seconds) == (
            mixed,
            effects,
            chunks,
            15,
        )
        assert (read.reverb_most, read.pitch_cents, read.overdrive_db, read.speed_share) == (49, 300, (2, 9), 0.1)
        assert (read.overlap, read.chunk_seconds, read.speed_by) == ("add", 0.5, "speed")
        assert read.in_epoch(plain - 1, epochs) is read
        assert read.in_epoch(plain, epochs).effects_prob == read.in_epoch(plain, epochs).chunks_prob == 0
        assert e.training.epochs == epochs
        sizes = (front.n_fft, front.hop_length, front.offset, front.channels)
        assert sizes == ((2048, 1024) if channels == 2 else (256, 128)) + (1e-4, channels)
        assert getattr(front, "n_mels", None) == (128 if channels == 2 else None)
        assert getattr(front, "fmin", None) == (5.0 if channels == 2 else None)
        assert (e.features.sample_rate, e.features.trim_db) == (44100, None)
        assert (e.loss.name, e.sampling.epoch, e.training.batch_size) == ("LSEP", "pass", 20)
        assert (e.optimizer.name, e.optimizer.amsgrad, e.optimizer.weight_decay) == ("Adam", True, 0)
        cycle = rate.start(e.optimizer.lr, 1000)
        assert cycle.lr_at(0) == pytest.approx(1e-4)
        assert cycle.lr_at(300) == pytest.approx(5e-3)
        assert cycle.lr_at(1000) == pytest.approx(1e-7)


def test_stages_add_more_and_more_noisy_clips_and_label_the_rest():
    first, *stages = space.load("ex4sperans_noisy").firsts
    assert (first.pseudo.name, first.sampling.noisy_prob) == ("Given", 0)
    assert [e.pseudo.parent.id for e in stages] == [e.id for e in (first, *stages[:-1])]
    assert [e.pseudo.name for e in stages] == ["Top"] * 5 + ["Rest"]
    published = [1000, 2000, 3000, 4000, 5000, 5000]
    assert [e.pseudo.share for e in stages] == pytest.approx([n / 19815 for n in published], abs=0.003)
    for e in (first, *stages):
        assert (e.model.blocks, e.model.base_size, e.model.dropout, e.training.epochs) == (6, 100, 0.7, 150)
        assert e.input.in_epoch(139, 150) is e.input
        assert e.input.in_epoch(140, 150).effects_prob == 0
        assert not e.leaky
    without = space.load("ex4sperans_noisy").fit((), {}).firsts
    assert [e.pseudo.name for e in without] == ["Given"]


def test_the_pool_of_the_end_holds_every_published_model_and_each_network_on_the_last_stages():
    final = space.load("ex4sperans_final")
    pool = {e.name: e for e in final.firsts}
    assert len({e.id for e in final.firsts}) == len(pool) == 20
    recipes = experiments() | {e.name: e for e in space.load("ex4sperans_noisy").firsts}
    assert all(pool[name].id == e.id for name, e in recipes.items())
    for name, stage in itertools.product(("augmented_1d", "rnn_2d", "rnn_1d"), ("best_5", "rest")):
        own = pool[f"{name}_{stage}"]
        assert (own.pseudo, own.sampling) == (pool[stage].pseudo, pool[stage].sampling)
        assert (own.model, own.input, own.training) == (pool[name].model, pool[name].input, pool[name].training)
    small = final.fix({"model.base_size": "12", "training.epochs": "12", "input.max_seconds": "4"})
    assert len({e.id for e in small.firsts}) == 20
    assert {e.pseudo.name for e in final.fit((), {}).firsts} == {"Given"}


def test_help_names_a_small_form_that_they_take():
    for name in ("ex4sperans_2d", "ex4sperans_1d", "ex4sperans_rnn", "ex4sperans_noisy", "ex4sperans_final"):
        told = space.load(name)
        words = told.help.replace("\\\n", " ").split()
        small = dict(w.split("=") for before, w in itertools.pairwise(words) if before == "--set")
        assert {"model.base_size", "training.epochs", "input.max_seconds"} == set(small)
        assert all(e.training.epochs == int(small["training.epochs"]) for e in told.fix(small).firsts)
