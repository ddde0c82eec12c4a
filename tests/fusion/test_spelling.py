"""The quick spelling of generated code is the same operators, and survives whatever is done with a fused module."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchweld as tw
from torchweld.fusion import spelling
from torchweld.models import create

IMAGE = torch.linspace(-2, 2, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6)
MATRIX = torch.linspace(-1, 3, 12).reshape(3, 4)
POSITIVE = MATRIX.abs() + 0.1
KERNEL = torch.linspace(-1, 1, 8 * 4 * 3 * 3).reshape(8, 4, 3, 3)
ROW = torch.linspace(-1, 1, 4)
BATCH = torch.linspace(-1, 1, 24).reshape(2, 3, 4)

ON_ANY = (
    "abs", "cos", "elu", "exp", "gelu", "hardsigmoid", "hardsigmoid_", "hardswish", "hardswish_", "hardtanh",
    "hardtanh_", "leaky_relu", "leaky_relu_", "mish", "relu", "relu6", "relu6_", "relu_", "sigmoid", "sigmoid_",
    "silu", "silu_", "sin", "softplus", "tanh",
)  # fmt: skip
CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {  # operator -> overload, arguments
    **{name: ("default", (MATRIX,), {}) for name in ON_ANY},
    **{name: ("default", (POSITIVE,), {}) for name in ("reciprocal", "rsqrt", "sqrt")},
    **{name: ("Tensor", (MATRIX, POSITIVE), {}) for name in ("add", "add_", "mul", "mul_", "div", "sub")},
    "adaptive_avg_pool1d": ("default", (BATCH, [2]), {}),
    "adaptive_avg_pool2d": ("default", (IMAGE, [2, 3]), {}),
    "addcmul": ("default", (MATRIX, ROW, POSITIVE), {"value": 2.0}),
    "amax": ("default", (IMAGE, [2, 3], True), {}),
    "avg_pool1d": ("default", (BATCH, [2], [1], [1]), {}),
    "avg_pool2d": ("default", (IMAGE, [3, 3], [2, 2], [1, 1], True, False), {}),
    "baddbmm": ("default", (BATCH @ BATCH.mT, BATCH, BATCH.mT), {"beta": 0.5, "alpha": 2.0}),
    "bmm": ("default", (BATCH, BATCH.mT), {}),
    "cat": ("default", ([MATRIX, POSITIVE], 1), {}),
    "chunk": ("default", (IMAGE, 2, 1), {}),
    "clamp": ("default", (MATRIX, 0, 2), {}),
    "clamp_": ("default", (MATRIX, None, 2), {}),
    "clamp_min": ("default", (MATRIX, 0), {}),
    "clamp_min_": ("default", (MATRIX, 0), {}),
    "conv1d": ("default", (BATCH.mT, KERNEL[..., 0], None, [1], [1], [1], 1), {}),
    "conv2d": ("default", (IMAGE, KERNEL, None, [2, 1], [1, 0], [1, 1], 1), {}),
    "conv3d": ("default", (IMAGE[:, :, None], KERNEL[:, :, None], None, [1, 1, 1], [0, 1, 1], [1, 1, 1], 1), {}),
    "expand": ("default", (ROW, [3, -1]), {}),
    "flatten": ("using_ints", (IMAGE, 2), {}),
    "group_norm": ("default", (IMAGE, 2, ROW, ROW, 1e-3), {}),
    "instance_norm": ("default", (IMAGE, ROW, ROW, None, None, True, 0.1, 1e-3, False), {}),
    "layer_norm": ("default", (MATRIX, [4], ROW, ROW, 1e-3), {}),
    "linear": ("default", (MATRIX, POSITIVE, ROW[:3]), {}),
    "matmul": ("default", (MATRIX, POSITIVE.mT), {}),
    "max_pool2d": ("default", (IMAGE, [3, 3], [2, 2], [1, 1], [1, 1], True), {}),
    "mean": ("dim", (IMAGE, [2, 3], True), {}),
    "mm": ("default", (MATRIX, POSITIVE.mT), {}),
    "narrow": ("default", (IMAGE, 1, 1, 2), {}),
    "pad": ("default", (IMAGE, [1, 0, 2, 1], "constant", 0.5), {}),
    "permute": ("default", (IMAGE, [0, 2, 3, 1]), {}),
    "pixel_shuffle": ("default", (IMAGE, 2), {}),
    "pixel_unshuffle": ("default", (IMAGE, 2), {}),
    "reshape": ("default", (IMAGE, [2, -1, 9]), {}),
    "roll": ("default", (IMAGE, [1, -2], [2, 3]), {}),
    "scaled_dot_product_attention": ("default", (BATCH, BATCH, BATCH, None, 0.0, True), {"scale": 0.3}),
    "select": ("int", (IMAGE, 1, -1), {}),
    "softmax": ("int", (MATRIX, -1), {}),
    "split_with_sizes": ("default", (IMAGE, [1, 3], 1), {}),
    "squeeze": ("dim", (IMAGE[:, :1], 1), {}),
    "stack": ("default", ([MATRIX, POSITIVE], 1), {}),
    "sum": ("dim_IntList", (IMAGE, [1], True), {}),
    "transpose": ("int", (IMAGE, -1, 1), {}),
    "unbind": ("int", (IMAGE, 1), {}),
    "unfold": ("default", (IMAGE, 2, 3, 1), {}),
    "unsqueeze": ("default", (IMAGE, -1), {}),
    "where": ("self", (MATRIX > 0, MATRIX, POSITIVE), {}),
}  # fmt: skip


def test_every_operator_has_a_call() -> None:
    assert CALLS.keys() == spelling._QUICK


@pytest.mark.parametrize("operator", sorted(CALLS))
def test_the_python_name_is_the_same_operator(operator: str) -> None:
    overload, args, kwargs = CALLS[operator]
    written = f"torch.ops.aten.{operator}.{overload}("
    (spelled,) = spelling.quick([written])
    assert spelled != written

    def result(text: str) -> Any:
        given = copy.deepcopy((args, kwargs))  # some write over what they are given
        return eval(f"{text}*args, **kwargs)", {"torch": torch, "args": given[0], "kwargs": given[1]})

    torch.testing.assert_close(result(spelled), result(written), rtol=0, atol=0)


def test_other_operators_keep_their_names() -> None:
    lines = ["a = torch.ops.aten.cumsum.default(x, 1)\n", "b = torch.ops.mkldnn._linear_pointwise.default(x)\n"]
    assert spelling.quick(lines) == lines


def test_parameters_at_the_end_of_a_chain() -> None:
    (line,) = spelling.quick(['w = getattr(self.a, "0").weight;  v = self.bias\n'])
    assert line == "w = self._modules['a']._modules['0'].weight;  v = self.bias\n"


class Sizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x.reshape(x.shape[0], x.shape[1], -1).softmax(-1)


@pytest.fixture(scope="module")
def fused() -> tuple[torch.fx.GraphModule, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    module = tw.fuse(Sizes().eval(), (x,)).module
    assert "torch.ops.aten" not in module.code
    with torch.no_grad():
        return module, x, module(x)


def test_pickle_and_copy(fused: tuple[torch.fx.GraphModule, Tensor, Tensor]) -> None:
    module, x, y = fused
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for again in (torch.load(file, weights_only=False), copy.deepcopy(module)):
        with torch.no_grad():
            assert torch.equal(again(x), y)
        assert again.state_dict().keys() == module.state_dict().keys()


@pytest.mark.parametrize("strict", [False, True])
def test_export(fused: tuple[torch.fx.GraphModule, Tensor, Tensor], strict: bool) -> None:
    module, x, y = fused
    program = torch.export.export(module, (x,), strict=strict)
    with torch.no_grad():
        assert torch.equal(program.module()(x), y)
    assert set(program.state_dict) == set(module.state_dict())


def test_dynamo_takes_it_whole(fused: tuple[torch.fx.GraphModule, Tensor, Tensor]) -> None:
    module, x, y = fused
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(x), y)


def test_fused_again_it_calls_the_same() -> None:
    torch.manual_seed(0)
    model, x = create("branched_tiny", 10, 1).eval(), torch.randn(2, 1, 28, 28)
    once = tw.fuse(model, (x,)).module
    twice = tw.fuse(once, (x,)).module
    once_calls, twice_calls = ([line for line in m.code.splitlines() if "(x" in line or "_modules" in line]
                               for m in (once, twice))  # fmt: skip
    assert once_calls == twice_calls
    assert len(once_calls) > 5


def test_hooks_on_a_fused_layer_are_called(fused: tuple[torch.fx.GraphModule, Tensor, Tensor]) -> None:
    module, x, _ = fused
    layer = next(name for name, m in module.named_modules() if isinstance(m, nn.Conv2d))
    seen: list[torch.Size] = []
    handle = module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    module(x)
    handle.remove()
    assert seen == [torch.Size([2, 3, 8, 8])]
