"""Which convolutions become blocks: by name, by cost, by what feeds what; and the reason wherever one does not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import CheckFailed, InputError, relative_error
from torchweld.fusion import expansion_report
from torchweld.fusion.expansion.block import Block

from .hosts import (
    CalledTwice,
    Functional,
    Misnamed,
    NormAndAct,
    NormCalledTwice,
    ReadTwice,
    Residual,
    Standardised,
    Tied,
    batch,
    lived_in,
)


def expanded(model: nn.Module) -> list[str]:
    return [e.where for e in expansion_report(model).expanded]


def reasons(model: nn.Module) -> dict[str, str]:
    return {d.where: d.reason for d in expansion_report(model).declined}


def test_the_norm_is_the_one_that_reads_the_convolution_whatever_it_is_called() -> None:
    model, x = lived_in(Misnamed()).eval(), batch(4, 3, 8, 8)
    wide = tw.expand(model, "rep", calibrate=x)
    assert [(e.where, e.norm) for e in expansion_report(wide).expanded] == [("conv1", "bn2"), ("conv2", "bn1")]
    assert relative_error(tw.collapse(wide)(x), model(x)) <= 1e-10


def test_a_norm_that_is_not_the_only_reader_is_left_alone() -> None:
    x = batch(4, 3, 8, 8)
    with pytest.raises(InputError, match="conv: no bias, and no batch norm that alone reads its output"):
        tw.expand(lived_in(ReadTwice(bias=False)), "rep", calibrate=x)
    model = lived_in(ReadTwice(bias=True)).eval()
    wide = tw.expand(model, "rep", calibrate=x)
    assert expansion_report(wide).expanded[0].norm is None
    assert relative_error(tw.collapse(wide)(x), model(x)) <= 1e-10


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("block", ["rep", "diverse"])
def test_a_norm_that_does_more_is_kept_behind_the_block(block: str, bias: bool) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias), NormAndAct(6), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)
    )
    model, x = lived_in(model).eval(), batch(4, 3, 8, 8)
    model[3].register_forward_hook(lambda module, args, y: y * 2)
    wide = tw.expand(model, block, calibrate=x)
    assert [(e.norm, e.kept) for e in expansion_report(wide).expanded] == [("1", True), ("3", True)]
    with torch.no_grad():  # as if it had learned a bias in the branches
        wide[0].branches["main"].norm.bias.add_(batch(6))
    thin = tw.collapse(wide)
    assert isinstance(thin[1], NormAndAct)
    assert thin.state_dict().keys() == model.state_dict().keys()
    assert relative_error(thin(x), wide(x)) <= 1e-10
    assert relative_error(copy.deepcopy(thin).train()(x), copy.deepcopy(model).train()(x)) <= 1e-10


def test_an_output_of_the_model_is_a_reader_too() -> None:
    class Both(ReadTwice):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            y = self.conv(x)
            return y, self.norm(y)

    wide = tw.expand(lived_in(Both(bias=True)), "rep", calibrate=batch(4, 3, 8, 8))
    assert expansion_report(wide).expanded[0].norm is None


def test_a_bias_is_gained_only_where_that_is_allowed() -> None:
    model, x = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU())).eval(), batch(4, 3, 8, 8)
    with pytest.raises(InputError, match="allow_bias=True accepts that"):
        tw.expand(model, "rep", calibrate=x)
    allowed = tw.collapse(tw.expand(model, "rep", calibrate=x, allow_bias=True))
    assert allowed.state_dict().keys() == {"0.weight", "0.bias"}
    without = tw.collapse(tw.expand(model, "rep", calibrate=x, norm="after"))
    assert without.state_dict().keys() == {"0.weight"}
    for thin in (allowed, without):
        assert relative_error(thin(x), model(x)) <= 1e-10


def test_a_convolution_called_twice() -> None:
    model, x = lived_in(CalledTwice()).eval(), batch(4, 6, 8, 8)
    with pytest.raises(InputError, match='conv: it is called 2 times, each with its own statistics; norm="after"'):
        tw.expand(model, "rep", calibrate=x)
    wide = tw.expand(model, "rep", norm="after")
    assert relative_error(wide(x), model(x)) <= 1e-12
    assert relative_error(tw.collapse(wide)(x), model(x)) <= 1e-12


def test_a_norm_called_twice_is_taken_in_by_neither() -> None:
    model, x = lived_in(NormCalledTwice()).eval(), batch(4, 6, 8, 8)
    wide = tw.expand(model, "rep", calibrate=x)
    assert [e.norm for e in expansion_report(wide).expanded] == [None, None]
    assert isinstance(wide.norm, nn.BatchNorm2d)
    assert relative_error(tw.collapse(wide)(x), model(x)) <= 1e-10


def test_one_module_under_two_names_is_one_block_under_both() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model, x = lived_in(nn.Sequential(conv, nn.ReLU(), conv)).eval(), batch(4, 4, 8, 8)
    wide = tw.expand(model, "wide(2)", norm="after")
    assert wide[0] is wide[2]
    thin = tw.collapse(wide)
    assert thin[0] is thin[2]
    assert relative_error(thin(x), model(x)) <= 1e-12


@pytest.mark.parametrize("norm", ["branch", "after"])
def test_tied_weights_stay_tied(norm: str) -> None:
    wide = tw.expand(lived_in(Tied()), "rep", calibrate=batch(4, 4, 8, 8), norm=norm)  # type: ignore[arg-type]
    assert expanded(wide) == ["three"]
    assert reasons(wide) == {"one": "it shares its parameters with two", "two": "it shares its parameters with one"}
    assert wide.one.weight is wide.two.weight


def test_a_weight_that_others_read_and_a_convolution_that_nobody_calls() -> None:
    wide = tw.expand(lived_in(Functional()), "rep", calibrate=batch(4, 4, 8, 8))
    assert expanded(wide) == ["two"]
    assert reasons(wide) == {
        "one": "its weight is read outside of it, where a block has none",
        "unused": "it is not used on the calibration batch",
    }


def test_modules_that_are_no_plain_convolutions_are_declined_with_the_reason() -> None:
    hooked = nn.Conv2d(4, 4, 3)
    hooked.register_forward_hook(lambda *_: None)
    weight_normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1),
        nn.ConvTranspose2d(4, 4, 3),
        Standardised(4, 4, 3),
        hooked,
        weight_normed,
        nn.Conv2d(4, 4, 3),
    )
    wide = tw.expand(lived_in(model), "diverse", calibrate=batch(2, 4, 12, 12))
    assert expanded(wide) == ["5"]
    said = reasons(wide)
    assert said["0"].startswith("a 1x1 convolution")
    assert said["1"].startswith("a transposed convolution")
    assert said["2"].startswith("a Standardised, whose forward is its own")
    assert said["3"].startswith("it has forward hooks")
    assert said["4"].startswith("its weight is computed from other parameters")


def test_a_model_that_is_itself_a_convolution() -> None:
    with pytest.raises(InputError, match="put it into a Sequential"):
        tw.expand(nn.Conv2d(3, 3, 3), "rep", norm="after")


def test_a_kernel_along_one_axis_has_no_asymmetric_block() -> None:
    with pytest.raises(InputError, match="longer than 1 along one axis only"):
        tw.expand(nn.Sequential(nn.Conv2d(3, 3, (1, 5))), "asymmetric", norm="after")


def test_branches_that_say_nothing_new_are_left_out_with_the_reason() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 8, 3, 2, 1))
    first, second = expansion_report(tw.expand(model, "rep", norm="after")).expanded
    assert (first.branches, second.branches) == (("main", "identity"), ("main", "point"))
    assert first.left_out == ("1x1: with one input per output it is the same factor as the identity",)
    assert second.left_out == ("identity: channels, stride or positions change",)


def test_an_even_kernel_that_keeps_its_size_has_the_identity_beside_it() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, (2, 4), padding="same"), nn.Conv2d(4, 4, 2, padding=1))
    first, second = expansion_report(tw.expand(model, "rep", norm="after")).expanded
    assert (first.branches, second.branches) == (("main", "identity", "point"), ("main", "point"))


def test_wide_takes_a_1x1_convolution() -> None:
    model, x = lived_in(nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6))).eval(), batch(4, 4, 8, 8)
    wide = tw.expand(model, "wide(3)", calibrate=x)
    assert expansion_report(wide).expanded[0].branches == ("main", "same_1", "same_2")
    assert relative_error(tw.collapse(wide)(x), model(x)) <= 1e-10


def test_patterns_choose_by_name() -> None:
    x = batch(4, 3, 12, 12)
    assert expanded(tw.expand(lived_in(Residual()), "rep", calibrate=x, include="stem.*")) == ["stem.0"]
    assert expanded(tw.expand(lived_in(Residual()), "rep", calibrate=x, exclude=["stem.*", "short"])) == ["a", "b"]
    with pytest.raises(InputError, match="no convolution's name matches layer"):
        tw.expand(lived_in(Residual()), "rep", calibrate=x, include="layer*")


def test_share_takes_the_costliest() -> None:
    x = batch(4, 3, 12, 12)
    everything = expansion_report(tw.expand(lived_in(Residual()), "rep", calibrate=x))
    work = {e.where: e.multiplications for e in everything.expanded}
    assert work["stem.0"] == 4 * 144 * 8 * 27
    assert work["b"] == 4 * 36 * 12 * 108
    part = tw.expand(lived_in(Residual()), "rep", calibrate=x, share=0.6)
    assert set(expanded(part)) == set(sorted(work, key=lambda w: -work[w])[:2])
    assert [r for r in reasons(part).values() if r.startswith("not among the costliest")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "triple"}, "no block is called 'triple'"),
        ({"block": "wide"}, "as in 'wide\\(4\\)'"),
        ({"block": "rep"}, "give a calibration batch"),
        ({"block": "rep", "norm": "after", "share": 0.5}, "share is counted on it"),
        ({"block": "rep", "norm": "before"}, 'norm is "branch" or "after"'),
        ({"block": "rep", "calibrate": torch.zeros(2, 5, 8, 8)}, "does not run on the calibration batch"),
        ({"block": "rep", "calibrate": torch.randn(2, 3, 8, 8), "share": 0.0}, "share is a part"),
        ({"block": "rep", "norm": "after", "strength": 0.0}, "strength is the side branches' share"),
        ({"block": "rep", "calibrate": torch.full((2, 3, 8, 8), torch.nan)}, "not finite on the calibration batch"),
    ],
)
def test_input_that_cannot_be_used_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tw.expand(Residual(), **options)  # type: ignore[arg-type]


def test_models_without_convolutions_or_with_blocks_already() -> None:
    with pytest.raises(InputError, match="no convolution to expand"):
        tw.expand(nn.Linear(3, 3), "rep", norm="after")
    wide = tw.expand(Residual(), "rep", norm="after")
    with pytest.raises(InputError, match="expanded already"):
        tw.expand(wide, "rep", norm="after")


def test_a_convolution_called_through_a_hidden_reference_is_found_out() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)
            self.kept = [self.conv]  # a list: no submodule, so a block cannot be put there

        def forward(self, x: Tensor) -> Tensor:
            return self.kept[0](x)

    with pytest.raises(CheckFailed, match="conv is called through a reference that is no submodule"):
        tw.expand(Hidden(), "rep", calibrate=torch.randn(2, 3, 8, 8))


def test_several_arguments_and_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
            return {"sum": self.conv(input=a) + b, "count": torch.tensor(a.shape[0])}

    model, (a, b) = lived_in(Two()).eval(), (batch(2, 3, 6, 6), batch(2, 3, 6, 6, seed=3))
    wide = tw.expand(model, "diverse", calibrate=(a, b))
    assert isinstance(wide.conv, Block)
    assert relative_error(wide(a, b)["sum"], model(a, b)["sum"]) <= 1e-10


def test_a_weight_whose_dtype_is_read_outside_is_declined() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x.to(self.one.weight.dtype)))

    wide = tw.expand(Casts(), "rep", calibrate=torch.randn(2, 3, 8, 8))
    assert reasons(wide) == {"one": "its weight is read outside of it, where a block has none"}


def test_a_model_that_reads_what_a_block_lacks_is_found_out() -> None:
    class Reads(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](x) if self[0].bias is not None else x

    with pytest.raises(CheckFailed, match="the expanded model does not run"):
        tw.expand(Reads(nn.Conv2d(3, 3, 3)), "rep", calibrate=torch.randn(2, 3, 8, 8))


def test_inputs_without_a_batch_and_batches_without_a_variance() -> None:
    with pytest.raises(InputError, match="an input without a batch dimension"):
        tw.expand(nn.Sequential(nn.Conv2d(3, 3, 3)), "rep", calibrate=torch.randn(3, 8, 8))
    with pytest.raises(InputError, match="one value per channel here"):
        tw.expand(nn.Sequential(nn.Conv2d(3, 3, 3)), "rep", calibrate=torch.randn(1, 3, 3, 3))
    unbatched = tw.expand(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)), "diverse", norm="after")
    assert unbatched(torch.randn(3, 8, 8)).shape == (3, 8, 8)


def test_calibration_does_not_depend_on_dropout() -> None:
    """Statistics are taken with dropout off: the branches' running means do not depend on a mask."""
    model = lived_in(nn.Sequential(nn.Dropout(0.9), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))).train()
    x = batch(4, 3, 8, 8)
    first, again = (tw.expand(model, "rep", calibrate=x).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
