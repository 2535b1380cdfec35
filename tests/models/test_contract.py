"""The contract of `raytag.testing.models` over all networks, and that each of its promises can be broken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytag import losses, models, parts
from raytag.batch import Batch, Outputs, Targets
from raytag.experiment import Loss, Model
from raytag.predict import predict_middles
from raytag.testing.models import check_model, check_network

SKIP = {"last_fc": 2, "dropout": 0.0}
NARROW = [{"width": 1 / 16}, {"width": 1 / 8}]
READ = [{"growth": 1.2}, {"aggregation": "rnn", "blocks": 3}]
#: Small forms of every network.
SMALL = {
    "AuxSkipAttention": [{"base_size": 4} | SKIP, {"base_size": 16} | SKIP],
    "CNNBackbone": [fields | {"dropout": 0.0} for fields in NARROW],
    "FeatureExtractor": [{"base_size": 4}, {"base_size": 16, "dropout": 0.0}],
    "HierarchicalCNN": [{"base_size": 6, "dropout": 0.0} | more for more in READ],
    "PlainConv": [{"base_size": n, "hidden": 8, "dropout": 0.0} for n in (4, 16)],
    "ResNet18": NARROW,
    "ResNet34": NARROW[:1],
    "ResNet50": NARROW,
    "RnnAuxSkipAttention": [{"base_size": 4} | SKIP, {"base_size": 16} | SKIP],
    "SEResNet50": NARROW[:1],
    "SEResNeXt50_32x4d": NARROW,
    "SimpleAttention": [{"base_size": 4, "dropout": 0.0}, {"base_size": 16}],
    "SimpleKaggle": [{"base_size": 4, "dropout": 0.0}, {"base_size": 16}],
    "SkipAttention": [{"base_size": 4} | SKIP, {"base_size": 16} | SKIP],
    "TwoDimensionalCNN": [{"base_size": 6, "dropout": 0.0} | more for more in READ],
}


@pytest.mark.parametrize("name", models.MODELS)
def test_every_network_keeps_the_contract(name: str) -> None:
    for fields in SMALL[name]:
        check_network(Model(name, **fields))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", models.MODELS)
def test_every_clip_is_scored_and_learned_from_with_auxiliary_classifiers_or_without(name: str) -> None:
    """argus-freesound scores the first of whatever a network returns, which without auxiliary classifiers is the
    batch's first clip."""
    torch.manual_seed(0)
    member = Model(name, **SMALL[name][0])
    size = (member.tried_on or [(64, 64)])[0]
    net = member.build(5, member.channels((3, *size))).eval()
    images, labels = torch.randn(4, 3, *size), torch.eye(5)[:4]

    class Middles:
        def middles(self, rows: np.ndarray) -> Batch:
            return Batch(images[rows])

    outputs = net(images)
    assert bool(outputs.aux) == ("Aux" in name)
    found = predict_middles(net, Middles(), np.arange(4), torch.device("cpu"))
    np.testing.assert_allclose(found, outputs.clip.sigmoid().detach(), rtol=1e-3)
    # far from where losses are flat, which the logits of some networks are not before they are trained
    logits = [torch.zeros_like(one, requires_grad=True) for one in (outputs.clip, *outputs.aux)]
    for loss in map(Loss, losses.LOSSES):
        # one that compares clips leaves out noisy ones that stand out
        noisy = torch.tensor([False, not loss.compares_clips] * 2)
        value = loss.build(5)(Outputs(logits[0], tuple(logits[1:])), Targets(labels, noisy))
        for gradient in torch.autograd.grad(value, logits):
            assert gradient.any(dim=1).all(), loss.name


class Plain(nn.Module):
    """Keeps the contract; those below break it in one place."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, num_classes)

    def pooled(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x))).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(x))

    def forward(self, x: Tensor) -> Outputs:
        return Outputs(self.logits(x))


class Bare(Plain):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.logits(x)


class Wide(Plain):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes + 1)


class Double(Plain):
    def logits(self, x: Tensor) -> Tensor:
        return super().logits(x).double()


class Scaled(Plain):
    """Silence has no spread."""

    def logits(self, x: Tensor) -> Tensor:
        return super().logits((x - x.mean((1, 2, 3), True)) / x.std((1, 2, 3), keepdim=True))


class InPlace(Plain):
    def logits(self, x: Tensor) -> Tensor:
        return super().logits(x.add_(1))


class Unseeded(Plain):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        nn.init.normal_(self.head.weight, generator=torch.Generator().manual_seed(torch.seed() % 2**32))


class Fixed(Plain):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Dropping(Plain):
    def pooled(self, x: Tensor) -> Tensor:
        return F.dropout(super().pooled(x), 0.2, self.training)


class Scaling(Plain):
    def pooled(self, x: Tensor) -> Tensor:
        return super().pooled(x) * (float(np.random.default_rng().uniform(0.5, 1)) if self.training else 1)


class Samples(nn.Module):
    """Of waveforms."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 6, 64, 32)
        self.head = nn.Linear(6, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        return Outputs(self.head(F.relu(self.conv(x[:, None])).mean(2)))


class Square(Plain):
    """Of one size."""

    def pooled(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (40, 40), "wants 40 x 40"
        return super().pooled(x)


class Drops(Plain):
    def pooled(self, x: Tensor) -> Tensor:
        return super().pooled(x) if self.training else F.dropout(super().pooled(x), 0.5)


class Unused(Plain):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.spare = nn.Linear(2, 2)


class Dead(Plain):
    def logits(self, x: Tensor) -> Tensor:
        return self.head(0 * self.pooled(x))


class Infinite(Plain):
    """The gradient of a square root at 0."""

    def pooled(self, x: Tensor) -> Tensor:
        return super().pooled(x) + (0 * self.norm.weight).sqrt()


class Hidden(Plain):
    shift = 0.0

    def logits(self, x: Tensor) -> Tensor:
        if self.training:
            self.shift = float(x.std())
        return super().logits(x) + self.shift


class Counting(Plain):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.register_buffer("seen", torch.zeros(()))

    def logits(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().logits(x)


class Sociable(Plain):
    def pooled(self, x: Tensor) -> Tensor:
        found = super().pooled(x)
        return found - found.mean(0)


class Flat(Plain):
    """Reads memory as it lies."""

    def pooled(self, x: Tensor) -> Tensor:
        first = x.as_strided((len(x), 6), (x[0].numel(), 1))
        return super().pooled(x) + first


class Half(Plain):
    def logits(self, x: Tensor) -> Tensor:
        return super().logits(x) + (torch.inf if torch.is_autocast_enabled("cpu") else 0)


def test_the_plain_network_keeps_it() -> None:
    check_model(Plain)
    check_model(lambda classes: Two(classes))
    check_model(Dropping)


def member_of(net: type[nn.Module], **values: object) -> parts.Network:
    """A network's fields, none, that build it."""
    values |= {"build": lambda self, num_classes, channels: net(num_classes), "__module__": __name__}
    return type("Own", (parts.Network,), values)()


def test_a_contract_finds_out_what_a_network_takes() -> None:
    assert check_network(member_of(Plain)) == "images of 32 x 48, 64 x 31, 128 x 256"
    assert check_network(member_of(Samples)) == "waveforms of 8000, 7919, 22050"
    with pytest.raises(AssertionError, match="wants 40 x 40"):
        check_network(member_of(Square))
    tried_on = ((40, 40),)
    assert check_network(member_of(Square, tried_on=tried_on, __annotations__={"tried_on": "ClassVar[Any]"})) == (
        "images of 40 x 40"
    )


class Two(Plain):
    """An auxiliary head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.aux = nn.Linear(6, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        pooled = self.pooled(x)
        return Outputs(self.head(pooled), (self.aux(pooled),))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Bare, r"returns Tensor, not raytag\.batch\.Outputs"),
        (Wide, r"logits are \(4, 6\), not \(4, 5\)"),
        (Double, "logits are torch.float64"),
        (Scaled, r"silence, training\): logits are not finite"),
        (InPlace, "writes into its input"),
        (Unseeded, "the same seed gives other weights"),
        (Fixed, "another seed gives the same weights"),
        (Scaling, "the same torch.manual_seed give other logits"),
        (Drops, "stored weights predict otherwise|second time"),
        (Unused, "no gradient reaches spare.weight"),
        (Dead, "the gradient of conv.bias, .* is always 0"),
        (Infinite, "the gradient of norm.weight is not finite"),
        (Hidden, "a state outside state_dict"),
        (Counting, "prediction changes the network's state"),
        (Sociable, "the prediction of a clip depends on its batch"),
        (Flat, "depends on the memory layout"),
        (Half, "under bfloat16 autocast are not finite"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_network_is_told_what_it_breaks(bad: type[nn.Module], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(bad, sizes=[(32, 48)])


class Mean(Plain):
    """Of padded batches too: batch norm of means over what is sound, of which it may look ``beyond``."""

    beyond = 0

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Outputs:
        ends = [x.shape[3]] * len(x) if lengths is None else [n + self.beyond for n in lengths.tolist()]
        means = torch.stack([row[..., :n].mean((1, 2)) for row, n in zip(x, ends, strict=True)])
        return Outputs(
            self.head(F.relu(self.norm(self.conv(means[:, :, None, None].expand(-1, -1, 3, 3)))).flatten(1))
        )


class Deaf(Mean):
    beyond = 100


class DeafInTraining(Mean):
    @property
    def beyond(self) -> int:  # type: ignore[override]
        return 1 if self.training else 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Deaf, "the prediction of a clip depends on its padding or on its batch"),
        (DeafInTraining, "what is learned from a clip depends on its padding"),
    ],
)
def test_padding_must_not_be_heard(bad: type[nn.Module], message: str) -> None:
    check_model(Mean, sizes=[(32, 48)], takes_lengths=True)
    with pytest.raises(AssertionError, match=message):
        check_model(bad, sizes=[(32, 48)], takes_lengths=True)
