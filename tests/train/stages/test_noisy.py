"""Rules by which predictions choose and label noisy clips, and the threshold that gives clips so many labels."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from raytag.experiment import Experiment, Pseudo
from raytag.train.sources import Source, Split
from raytag.train.stages.noisy import threshold_for

#: Given labels and predictions of five clips: the second agrees best after the first, the last is nothing to the
#: parent. At a threshold of 0.5 there are six labels.
GIVEN = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 0]], np.float32)
PREDICTED = np.array(
    [[0.9, 0.1, 0.2], [0.3, 0.8, 0.6], [0.7, 0.2, 0.1], [0.55, 0.5, 0.4], [0.3, 0.2, 0.1]], np.float32
)
AT_HALF = (PREDICTED >= 0.5).astype(np.float32)
ROWS = np.array([20, 21, 22, 23, 24])


def learned(rule, **fields):
    """Rows and labels of the noisy source after a rule, and what is said of it."""
    curated = Source("curated", np.arange(5), np.array([[1, 0, 0]] * 4 + [[1, 1, 0]], np.float32), False, 0.5)
    split = Split((curated, Source("noisy", ROWS, GIVEN, True, 0.5)), np.zeros(1), np.zeros((1, 3)), np.zeros(1))
    read = SimpleNamespace(predictions=lambda rows: PREDICTED[rows - 20])
    found, done = Pseudo(rule, parent=Experiment(), **fields).learn(split, read)
    assert found.sources[0] is curated
    assert (found.sources[1].noisy, found.sources[1].prob) == (True, 0.5)
    assert done["kept"] == len(found.sources[1].rows)
    assert json.loads(json.dumps(done)) == done
    return found.sources[1].rows.tolist(), found.sources[1].targets, done


def test_match_keeps_clips_whose_labels_are_predicted_one_by_one():
    rows, targets, done = learned("Match", labels=1.2)
    assert rows == [20, 23]
    np.testing.assert_array_equal(targets, GIVEN[[0, 3]])
    assert (done["rule"], done["of"], done["threshold"], done["labels"]) == ("Match", 5, 0.5, pytest.approx(1.2))
    with pytest.raises(ValueError, match=r"pseudo\.name=Match leaves none of 5 noisy clips: .* set pseudo\.labels"):
        learned("Match", labels=3)


def test_relabel_takes_predicted_labels_and_drops_clips_without():
    rows, targets, _ = learned("Relabel", labels=1.2)
    assert rows == [20, 21, 22, 23]
    np.testing.assert_array_equal(targets, AT_HALF[:4])


def test_merge_keeps_all_clips_with_both_kinds_of_labels():
    rows, targets, _ = learned("Merge", labels=1.2)
    assert rows == ROWS.tolist()
    np.testing.assert_array_equal(targets, np.maximum(GIVEN, AT_HALF))


def test_rest_keeps_the_labels_of_clips_that_agree_and_predicts_those_of_the_others():
    """ex4sperans' replacenan gives new labels to all clips, and to the wrong ones where a table is not sorted."""
    rows, targets, done = learned("Rest", labels=1.2, clips=2)
    assert rows == [20, 21, 22, 23]
    np.testing.assert_array_equal(targets, np.r_[GIVEN[:2], AT_HALF[2:4]])
    assert (done["kept_as_given"], done["kept"], done["lowest_score"]) == (2, 4, 1.0)
    rows, targets, _ = learned("Rest", labels=1.2, share=1.0)  # also the clip without a predicted label
    assert rows == ROWS.tolist()
    np.testing.assert_array_equal(targets, GIVEN)


def test_without_a_number_of_labels_it_is_that_of_the_curated_clips_that_are_trained_on():
    rows, targets, done = learned("Relabel")
    assert done["labels_wanted"] == pytest.approx(1.2)
    assert rows == [20, 21, 22, 23]
    np.testing.assert_array_equal(targets, AT_HALF[:4])
    with pytest.raises(ValueError, match=r"pseudo\.labels: .*greater than 0"):
        Pseudo("Relabel", parent=Experiment(), labels=0)


def on_a_grid(probabilities, labels):
    """As published: the best of 10,000 thresholds between 0 and 1."""
    grid = np.linspace(0, 1, 10_000)
    at_least = len(probabilities.ravel()) - np.searchsorted(np.sort(probabilities.ravel()), grid)
    return grid[np.abs(at_least / len(probabilities) - labels).argmin()]


@pytest.mark.parametrize("sharpness", [1.0, 12.0])
@pytest.mark.parametrize("labels", [0.2, 1.2, 3.0, 7.5])
def test_the_threshold_is_as_good_as_any_of_a_grid_and_better_where_the_grid_is_coarse(sharpness, labels):
    rng = np.random.default_rng(0)
    logits = sharpness * rng.normal(-2, 2, (400, 20))
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)

    def error(threshold):
        return abs((probabilities >= threshold).sum() / len(probabilities) - labels)

    own, published = threshold_for(probabilities, labels), on_a_grid(probabilities, labels)
    assert error(own) <= error(published)
    if sharpness == 1 or labels > 2:  # else many are equal: their float32 is 1
        assert (probabilities >= own).sum() == round(labels * 400)
    if sharpness == 12 and labels == 7.5:
        assert error(published) > 0.1  # most probabilities are below the first step


def test_equal_probabilities_are_labels_together_and_of_two_thresholds_the_higher_is_taken():
    assert threshold_for(np.array([[0.9, 0.5], [0.5, 0.5]], np.float32), 1.0) == pytest.approx(0.9)  # ½ or 2 labels
    assert threshold_for(np.array([[0.9, 0.5], [0.5, 0.5]], np.float32), 1.5) == 0.5
    assert threshold_for(np.array([[0.5, 0.25], [0.75, 0.125]], np.float32), 1.25) == 0.5  # 1 or 1½ labels
    assert threshold_for(np.array([[0.5, 0.25]], np.float32), 9) == 0.25
