"""Paths for modules and parameters: those of the original where they can be kept, else with a number."""

from __future__ import annotations

from torch import nn
from torch.fx import Node

_PARTS = {"graph", "code", "meta"}  # of `torch.fx.GraphModule`


class Names:
    """Paths given out so far; no module is placed inside another, so no path is a folder of another."""

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.taken: set[str] = set()

    def free(self, wanted: str) -> str:
        """`wanted`, or `wanted_1`, `wanted_2`, ... where it is taken; `a_b` for `a.b` where `a` is no folder.

        Names that modules have for something else are taken too: `to` is a method, a graph module's `code` its text.
        """
        wanted = wanted or "weld"
        if wanted.split(".")[0] in _PARTS:
            wanted = f"weld_{wanted}"
        within = next((f for f in _above(wanted) if f in self.taken), "")
        wanted = within + wanted[len(within) :].replace(".", "_") if within else wanted
        path, number = wanted, 0
        while path in self.taken or path in self.folders or hasattr(nn.Module, path.rpartition(".")[2]):
            number += 1
            path = f"{wanted}_{number}"
        self.taken.add(path)
        self.folders.update(_above(path))
        return path


def module_path(node: Node) -> str:
    """The path of the module that a node was captured in; "" for the model itself.

    A module that is called twice is marked `path@1` by the exporter; the mark is dropped.
    """
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return path.split("@")[0]


def _above(path: str) -> list[str]:
    """The folders of a path: `a.b.c` lies in `a.b` and `a`."""
    parts = path.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]
