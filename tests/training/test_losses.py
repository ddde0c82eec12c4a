"""Losses against torch's and against their definitions; metrics against torchmetrics; weights and shares."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex
from torchmetrics.regression import R2Score

from torchweld.core import InputError
from torchweld.layers import r_drop_loss
from torchweld.training import LOSSES, Config
from torchweld.training.losses import balanced_weights
from torchweld.training.metrics import Tally, confusion_matrix
from torchweld.training.score import per_sample


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SCORES, LABELS = _random(6, 4), torch.tensor([0, 3, 1, 2, 2, 0])
MAPS, MASKS = _random(3, 4, 5, 7), torch.randint(0, 4, (3, 5, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("maps", [False, True])
def test_one_value_a_sample_and_the_mean_does_not_depend_on_the_split(name: str, maps: bool) -> None:
    if name.endswith("dice") and not maps:
        pytest.skip("dice is for masks")
    scores, targets = (MAPS, MASKS) if maps else (SCORES, LABELS)
    losses = LOSSES[name](scores, targets)
    assert losses.shape == (len(scores),)
    parts = [LOSSES[name](s, t) for s, t in zip(scores.split(2), targets.split(2), strict=True)]
    torch.testing.assert_close(torch.cat(parts), losses)
    assert (losses >= -1e-12).all()


def test_cross_entropy_is_torchs() -> None:
    torch.testing.assert_close(LOSSES["cross_entropy"](SCORES, LABELS, None, 0.1).mean(),
                               F.cross_entropy(SCORES, LABELS, label_smoothing=0.1))  # fmt: skip
    torch.testing.assert_close(LOSSES["cross_entropy"](MAPS, MASKS).mean(), F.cross_entropy(MAPS, MASKS))


def test_hinge_is_torchs_margin_with_the_worst_class_alone() -> None:
    two = SCORES[:, :2]  # of two classes the worst is the only other
    torch.testing.assert_close(
        LOSSES["hinge"](two, LABELS % 2), 2 * F.multi_margin_loss(two, LABELS % 2, reduction="none")
    )
    with pytest.raises(InputError, match="mixup"):
        LOSSES["hinge"](SCORES, SCORES.softmax(1))


def test_focal_is_cross_entropy_where_gamma_is_zero_and_counts_the_easy_less() -> None:
    from torchweld.training.losses import focal

    torch.testing.assert_close(focal(SCORES, LABELS, gamma=0.0), LOSSES["cross_entropy"](SCORES, LABELS))
    easy = torch.tensor([[5.0, 0.0]])
    assert focal(easy, torch.tensor([0])) < 1e-3 * F.cross_entropy(easy, torch.tensor([0]))


def test_squared_is_half_the_mean_square() -> None:
    torch.testing.assert_close(LOSSES["squared"](SCORES, SCORES + 2), torch.full((6,), 2.0, dtype=torch.float64))


def test_dice_of_hard_masks_is_one_minus_the_coefficient() -> None:
    a = F.one_hot(MASKS, 4).movedim(-1, 1).double()
    other = MASKS.roll(1, 0)
    soft = LOSSES["dice"](1000 * a, other)
    for i in range(3):
        ours, theirs = a[i].flatten(1), F.one_hot(other[i], 4).movedim(-1, 0).double().flatten(1)
        each = (2 * (ours * theirs).sum(1) + 1) / (ours.sum(1) + theirs.sum(1) + 1)
        assert soft[i].item() == pytest.approx(1 - each.mean().item())


def test_shares_of_one_class_are_that_class() -> None:
    shares = F.one_hot(LABELS, 4).double()
    for name in ("cross_entropy", "focal", "squared"):
        torch.testing.assert_close(LOSSES[name](SCORES, shares), LOSSES[name](SCORES, LABELS))


def test_class_weights_weigh() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    for name in ("cross_entropy", "focal", "hinge"):
        torch.testing.assert_close(
            LOSSES[name](SCORES, LABELS, weights), LOSSES[name](SCORES, LABELS) * weights[LABELS]
        )
    counts = torch.tensor([10, 0, 30])
    balanced = balanced_weights(counts)
    assert balanced[1] == 0
    assert (balanced * counts).sum().item() == pytest.approx(40)
    assert (balanced[0] * 10).item() == pytest.approx((balanced[2] * 30).item())


def test_r_drop_is_the_layers_own() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    x, labels = torch.randn(6, 4), LABELS % 3
    torch.manual_seed(3)
    losses, _ = per_sample(model, x, labels, LOSSES["cross_entropy"], Config(r_drop=2.0), None)
    torch.manual_seed(3)
    expected = r_drop_loss(model(x), model(x), labels, weight=2.0)
    torch.testing.assert_close(losses.mean(), expected)


def test_metrics_are_torchmetrics() -> None:
    for task, scores, targets in (("classify", SCORES, LABELS), ("segment", MAPS, MASKS)):
        tally = Tally(task, 4)
        for s, t in zip(scores.split(2), targets.split(2), strict=True):
            tally.add(s, t, torch.ones(len(s)))
        ours = tally.scores()
        assert ours.accuracy == pytest.approx(MulticlassAccuracy(4, average="micro")(scores, targets).item())
        assert torch.equal(torch.tensor(ours.confusion), MulticlassConfusionMatrix(4)(scores, targets))
        if task == "segment":
            expected = MulticlassJaccardIndex(4, average="none")(scores, targets)
            torch.testing.assert_close(torch.tensor(ours.iou), expected)


def test_the_share_of_variance_is_torchmetrics() -> None:
    targets, predictions = _random(50, 1, seed=4), _random(50, 1, seed=5) * 0.3
    predictions = predictions + targets
    tally = Tally("regress", 0)
    tally.add(predictions[:20], targets[:20], torch.ones(20))
    tally.add(predictions[20:], targets[20:], torch.ones(30))
    assert tally.scores().score == pytest.approx(R2Score()(predictions[:, 0], targets[:, 0]).item())


def test_sums_of_several_processes_make_the_whole() -> None:
    whole, first, second = (Tally("segment", 4) for _ in range(3))
    whole.add(MAPS, MASKS, torch.arange(3.0))
    first.add(MAPS[:1], MASKS[:1], torch.arange(1.0))
    second.add(MAPS[1:], MASKS[1:], torch.arange(1.0, 3.0))
    first.replace(first.sums() + second.sums())
    assert first.scores() == whole.scores()
    assert torch.equal(first.confusion, confusion_matrix(MAPS, MASKS))
