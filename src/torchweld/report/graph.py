"""A captured or fused graph as plain data to draw: operations on tensors and the edges between them.

Parameters, and the arithmetic on sizes and its assertions, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.fx import Graph, Node

from torchweld.fusion import Weld

# What an operator is drawn as: its kind gives the colour, the word stands in the box.
_OPERATORS = {
    "conv1d": ("conv", "conv"),
    "conv2d": ("conv", "conv"),
    "conv3d": ("conv", "conv"),
    "conv_transpose1d": ("conv", "conv transposed"),
    "conv_transpose2d": ("conv", "conv transposed"),
    "conv_transpose3d": ("conv", "conv transposed"),
    "convolution": ("conv", "conv"),
    "linear": ("linear", "linear"),
    "addmm": ("linear", "linear"),
    "batch_norm": ("norm", "batch norm"),
    "addcmul": ("norm", "scale + shift"),
    "mul": ("sum", "×"),
    "div": ("sum", "÷"),
    "add": ("sum", "+"),
    "sub": ("sum", "−"),
}
_LAYERS = {"Conv1d": "conv", "Conv2d": "conv", "Conv3d": "conv", "Linear": "linear", "BatchNorm2d": "norm"}
_ABOUT_SIZES = frozenset({"sym_size", "sym_numel", "size", "_assert", "_assert_scalar", "_assert_tensor_metadata"})


@dataclass(frozen=True)
class DrawnNode:
    """One box: `where` is the module path, `sources` the modules it stands for, itself included."""

    name: str
    kind: str  # conv, linear, norm, sum, input, output, other
    label: str
    where: str
    sources: tuple[str, ...]
    welded: bool


@dataclass(frozen=True)
class DrawnGraph:
    """Boxes in topological order, and edges by their names."""

    nodes: tuple[DrawnNode, ...]
    edges: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain dictionaries, lists and strings."""
        return asdict(self)


def drawn(graph: Graph, root: nn.Module | None = None, welds: tuple[Weld, ...] = ()) -> DrawnGraph:
    """The operations of `graph` on tensors. `root` holds its modules, if it calls any; `welds` say what was merged.

    >>> from torch import fx
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> [node.label for node in drawn(fx.symbolic_trace(model).graph, model).nodes]
    ['input', 'conv 3x3  3→8', 'relu', 'output']
    """
    kept = _drawn_nodes(graph)
    names = {node: node.name for node in kept}
    by_place = {weld.where: weld for weld in welds}
    boxes = tuple(_box(node, root, by_place) for node in kept)
    edges = tuple((names[source], names[node]) for node in kept for source in node.all_input_nodes if source in names)
    return DrawnGraph(boxes, edges)


def _drawn_nodes(graph: Graph) -> list[Node]:
    """Inputs, outputs, and what is computed from a drawn node; so sizes and parameters by themselves are not."""
    kept: dict[Node, None] = {}
    for node in graph.nodes:
        computes = node.op.startswith("call_") and _word(node) not in _ABOUT_SIZES
        from_drawn = any(source in kept for source in node.all_input_nodes)
        if node.op in ("placeholder", "output", "call_module") or (computes and from_drawn):
            kept[node] = None
    return list(kept)


def _word(node: Node) -> str:
    """The operator's bare name: aten.add_.Tensor is add."""
    name = str(getattr(node.target, "__name__", node.target))
    if str(node.target).startswith(("aten.", "torch.ops.aten.")):
        name = str(node.target).removeprefix("torch.ops.").split(".")[1]
    return name if name.startswith("_") else name.rstrip("_")


def _box(node: Node, root: nn.Module | None, welds: Mapping[str, Weld]) -> DrawnNode:
    where = _where(node)
    weld = welds.get(where)
    sources = tuple(dict.fromkeys((where, *(weld.sources if weld else ())))) if where else ()
    kind, label = _kind_and_label(node, root)
    return DrawnNode(node.name, kind, label, where, sources, weld is not None and kind not in ("input", "output"))


def _where(node: Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    parameters = [str(n.target) for n in node.all_input_nodes if n.op == "get_attr"]
    stack = node.meta.get("nn_module_stack")
    if stack:
        return str(list(stack.values())[-1][0])
    return parameters[0].rpartition(".")[0] if parameters else ""


def _kind_and_label(node: Node, root: nn.Module | None) -> tuple[str, str]:
    if node.op in ("placeholder", "output"):
        name = "input" if node.op == "placeholder" else "output"
        return name, name
    if node.op == "call_module" and root is not None:
        module = root.get_submodule(str(node.target))
        name = type(module).__name__
        kind = _LAYERS.get(name, "other")
        weight = getattr(module, "weight", None)
        groups = getattr(module, "groups", 1)
        if isinstance(weight, Tensor) and kind in ("conv", "linear"):
            return kind, _sized(kind, tuple(weight.shape), groups, getattr(module, "stride", (1,)))
        return kind, "batch norm" if kind == "norm" else name.lower()
    word = _word(node)
    kind, label = _OPERATORS.get(word, ("other", word.replace("_", " ")))
    if kind in ("conv", "linear") and word != "addmm":
        weight = node.args[1] if len(node.args) > 1 else None
        value = weight.meta.get("val") if isinstance(weight, Node) else None
        if isinstance(value, Tensor):
            stride = node.args[3] if len(node.args) > 3 else (1,)
            groups = node.args[6] if len(node.args) > 6 else 1
            return kind, _sized(label, tuple(value.shape), groups, stride)
    return kind, label


def _sized(word: str, shape: tuple[Any, ...], groups: Any, stride: Any) -> str:
    """The word with its kernel, channels, and what is not plain: conv 3x3/2  16→32, 4 groups."""
    out, into, *kernel = shape
    label = word
    if kernel:
        label += " " + "x".join(map(str, kernel))
        steps = stride if isinstance(stride, (tuple, list)) else (stride,)
        if any(step != 1 for step in steps):
            label += f"/{max(steps)}"
    count = groups if isinstance(groups, int) else 1
    label += f"  {into * count}→{out}"
    return f"{label}, {count} groups" if count > 1 else label
