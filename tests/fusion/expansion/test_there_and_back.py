"""`collapse`: the original class and keys, after training too; and what saving, copying and fusing make of a block."""

from __future__ import annotations

import copy
import io
import json

import pytest
import torch
from torch import nn

import torchweld as tw
from torchweld.core import InputError, relative_error
from torchweld.fusion import expansion_report, fuse

from .hosts import Residual, batch, lived_in

BLOCKS = ("rep", "asymmetric", "diverse", "wide(3)")


def trained_a_little(model: nn.Module) -> nn.Module:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    model.train()
    for seed in range(5):
        loss = nn.functional.cross_entropy(model(batch(16, 3, 12, 12, seed=seed)), torch.arange(16) % 5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("norm", ["branch", "after"])
def test_after_training_the_original_code_loads_the_collapsed_weights(block: str, norm: str) -> None:
    model, x = lived_in(Residual()), batch(8, 3, 12, 12)
    wide = trained_a_little(tw.expand(model, block, calibrate=x, norm=norm)).eval()  # type: ignore[arg-type]
    thin = tw.collapse(wide)
    assert type(thin) is Residual
    assert str(thin) == str(model)
    assert {n: t.shape for n, t in thin.state_dict().items()} == {n: t.shape for n, t in model.state_dict().items()}
    fresh = Residual().double().eval()
    fresh.load_state_dict(thin.state_dict(), strict=True)
    for shape in ((8, 3, 12, 12), (3, 3, 15, 10)):
        other = batch(*shape, seed=11)
        assert relative_error(fresh(other), wide(other)) <= 1e-10
    assert relative_error(fresh(x), model.eval()(x)) > 1e-3  # it did learn


def test_the_collapsed_model_trains_on_from_where_the_wide_one_was() -> None:
    wide = trained_a_little(tw.expand(lived_in(Residual()), "rep", calibrate=batch(16, 3, 12, 12)))
    x, y = batch(16, 3, 12, 12, seed=3), torch.arange(16) % 5
    wide_loss = nn.functional.cross_entropy(copy.deepcopy(wide).train()(x), y).item()
    thin = tw.collapse(wide)
    assert thin.training
    means = {n: t for n, t in thin.state_dict().items() if "running_mean" in n}
    assert all(m.isfinite().all() for m in means.values())
    thin_loss = nn.functional.cross_entropy(thin.train()(x), y).item()
    assert thin_loss == pytest.approx(wide_loss, rel=0.5)


def test_neither_changes_the_model_that_it_is_given() -> None:
    model, x = lived_in(Residual()).train(), batch(8, 3, 12, 12)
    before = copy.deepcopy(model.state_dict())
    wide = tw.expand(model, "diverse", calibrate=x)
    kept = copy.deepcopy(wide.state_dict())
    tw.collapse(wide)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(kept[k], v) for k, v in wide.state_dict().items())
    assert all(m.training for m in wide.modules())
    assert str(model) == str(Residual())
    assert {p.data_ptr() for p in wide.parameters()}.isdisjoint(p.data_ptr() for p in model.parameters())


def test_evaluation_mode_is_kept() -> None:
    model = lived_in(Residual()).eval()
    wide = tw.expand(model, "rep", calibrate=batch(8, 3, 12, 12))
    assert not any(m.training for m in wide.modules())
    assert not any(m.training for m in tw.collapse(wide).modules())


def test_the_same_seed_gives_the_same_branches_and_another_seed_others() -> None:
    x = batch(8, 3, 12, 12)
    first, again, other = (tw.expand(lived_in(Residual()), "rep", calibrate=x, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["b.branches.point.conv.weight"], other["b.branches.point.conv.weight"])


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    model = lived_in(Residual())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    tw.collapse(tw.expand(model, "wide(2)", calibrate=batch(8, 3, 12, 12)))
    assert torch.equal(state, torch.get_rng_state())


def test_state_dict_saves_and_loads() -> None:
    x = batch(8, 3, 12, 12)
    wide = trained_a_little(tw.expand(lived_in(Residual()), "diverse", calibrate=x)).eval()
    again = tw.expand(lived_in(Residual(), seed=7), "diverse", calibrate=batch(8, 3, 12, 12, seed=4), seed=3).eval()
    assert again.load_state_dict(wide.state_dict(), strict=True)
    assert relative_error(again(x), wide(x)) <= 1e-12
    assert relative_error(tw.collapse(again)(x), wide(x)) <= 1e-10


def test_a_pickled_copy_collapses_too() -> None:
    x = batch(8, 3, 12, 12)
    wide = tw.expand(lived_in(Residual()), "rep", calibrate=x).eval()
    file = io.BytesIO()
    torch.save(wide, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert relative_error(tw.collapse(again)(x), wide(x)) <= 1e-10
    assert expansion_report(again) == expansion_report(wide)


def test_a_part_without_its_norm_and_a_model_without_blocks_are_refused() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)), nn.BatchNorm2d(4))
    wide = tw.expand(model, "rep", calibrate=torch.randn(4, 3, 8, 8))
    with pytest.raises(InputError, match="the batch norm of 0 is outside of this part"):
        tw.collapse(wide[0])
    with pytest.raises(InputError, match="no expanded convolution"):
        tw.collapse(model)
    with pytest.raises(InputError, match="a block alone"):
        tw.collapse(wide[0][0])


def test_the_report_is_plain_data() -> None:
    report = expansion_report(tw.expand(lived_in(Residual()), "rep", calibrate=batch(8, 3, 12, 12)))
    told = json.loads(json.dumps(report.to_dict()))
    assert told["block"] == "rep"
    assert [e["where"] for e in told["expanded"]] == ["stem.0", "a", "b"]
    assert [d["where"] for d in told["declined"]] == ["short"]
    assert told["error"] <= 1e-10
    with pytest.raises(InputError, match="was not returned by"):
        expansion_report(Residual())


@pytest.mark.parametrize("block", BLOCKS)
def test_fuse_reaches_the_originals_operators_knowing_nothing_of_blocks(block: str) -> None:
    model, x = lived_in(Residual()).float().eval(), batch(2, 3, 12, 12).float()
    native = fuse(model, x).report.after
    for norm in ("branch", "after"):
        wide = tw.expand(model, block, calibrate=x, norm=norm)  # type: ignore[arg-type]
        found = fuse(wide, x).report
        assert (found.after.operators, found.after.convs, found.after.norms) == (native.operators, native.convs, 0)
        assert found.after.parameters == native.parameters
        assert found.certificate.twin_error <= 1e-10


def test_fuse_welds_placed_kernels_and_other_windows_too() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, (2, 5), stride=(2, 1)),
        nn.ReLU(),
        nn.Conv2d(6, 6, 5, 2, (1, 2), groups=3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, padding_mode="reflect"),
    )
    x = batch(2, 3, 17, 15)
    model = lived_in(model).eval()
    native = fuse(model, x).report.after
    found = fuse(tw.expand(model, "diverse", calibrate=x), x).report
    assert (found.after.operators, found.after.convs, found.after.norms) == (native.operators, 3, 0)
