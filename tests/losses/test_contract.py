"""Every loss of the table keeps the contract, and the contract finds losses that do not."""

from __future__ import annotations

import pytest
import torch

from raytag import losses
from raytag.losses.bce import bce
from raytag.testing.losses import check_loss


@pytest.mark.parametrize("name", losses.LOSSES)
def test_it_keeps_the_contract(name):
    check_loss(losses.build(name))


def plain(logits, targets, noisy):
    return bce(logits.float() if logits.dtype != torch.float64 else logits, targets).mean()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda z, y, n: bce(z, y), "shape"),
        (lambda z, y, n: plain(z, y, n).float(), "the loss of torch.float64 logits is torch.float32"),
        (lambda z, y, n: plain(z, y, n) * 0, "zero everywhere"),
        (lambda z, y, n: bce(z[: len(z) // 2], y[: len(z) // 2]).mean(), "another order of clips"),
        (lambda z, y, n: plain(z[:, 1:], y[:, 1:], n), "another order of classes"),
        (lambda z, y, n: -(y * z.sigmoid().log() + (1 - y) * (1 - z.sigmoid()).log()).mean(), "not finite"),
        (lambda z, y, n: plain(z.nan_to_num(), y, n), "is a number"),
        (
            lambda z, y, n: plain(z, y, n).bfloat16() if torch.is_autocast_enabled("cpu") else plain(z, y, n),
            "autocast",
        ),
    ],
)
def test_it_finds_a_loss_that_breaks_it(loss, words):
    check_loss(plain)
    with pytest.raises(AssertionError, match=words):
        check_loss(loss)
