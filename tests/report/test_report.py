"""The report: graphs as data, boxes that do not overlap, a page that stands alone and cannot be broken by a name."""

from __future__ import annotations

import itertools
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchweld.deploy import StageSetting, bench, time_stages
from torchweld.fusion import fuse
from torchweld.layers import ResidualBlock
from torchweld.report import DrawnGraph, DrawnNode, drawn, write_page
from torchweld.report.drawing import svg
from torchweld.report.layout import BOX_HEIGHT, place
from torchweld.report.page import render

HISTORY = [
    {
        "epoch": epoch,
        "learning_rate": 0.1,
        "train_loss": 1 / epoch,
        "train_accuracy": 0.9,
        "held_out_loss": 1.1 / epoch,
        "held_out_accuracy": 0.9,
        "seconds": 1.0,
    }
    for epoch in (1, 2, 3)
]


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(ResidualBlock(4, norm=True), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    x = torch.randn(2, 4, 6, 6)
    fused = fuse(model, x)
    made = {
        "title": "a <b>title</b> & more",
        "training": {
            "config": {"model": "m", "data": "d", "seed": 0},
            "history": HISTORY,
            "parameters": 12345,
            "machine": {"threads": 1},
            "seconds": 3.0,
        },
        "stages": time_stages((StageSetting(4, 6),), budget_seconds=0.01, threads=1).to_dict(),
        "fusion": fused.report.to_dict(),
        "graphs": {
            "before": drawn(fused.captured).to_dict(),
            "after": drawn(fused.module.graph, fused.module, fused.report.rewrites).to_dict(),
        },
        "benchmark": bench(model, x, fused=fused, threads=1, budget_seconds=0.01).to_dict(),
    }
    return json.loads(json.dumps(made))  # as it comes out of report.json


def kinds(graph: dict[str, Any]) -> list[str]:
    return [node["kind"] for node in graph["nodes"]]


def test_both_graphs_show_operations_and_nothing_else(content: dict[str, Any]) -> None:
    before, after = content["graphs"]["before"], content["graphs"]["after"]
    assert kinds(before).count("conv") == 2
    assert kinds(before).count("norm") == 3
    assert kinds(before).count("sum") == 2
    assert kinds(after).count("conv") == 1
    assert kinds(after).count("norm") == 0
    for graph in (before, after):
        names = [node["name"] for node in graph["nodes"]]
        targets = {target for _, target in graph["edges"]}
        assert {end for edge in graph["edges"] for end in edge} <= set(names)
        assert all(name in targets for name, kind in zip(names, kinds(graph), strict=True) if kind != "input")


def test_the_weld_knows_all_that_it_replaces(content: dict[str, Any]) -> None:
    (weld,) = [node for node in content["graphs"]["after"]["nodes"] if node["welded"]]
    before = {node["where"] for node in content["graphs"]["before"]["nodes"] if node["kind"] in ("conv", "norm")}
    assert weld["kind"] == "conv"
    assert before <= set(weld["sources"])


def test_labels_say_kernel_stride_groups_and_channels() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, (3, 5), stride=2, groups=2), nn.Flatten(), nn.LazyLinear(2)).eval()
    fused = fuse(model, torch.randn(1, 4, 9, 11))
    for graph in (drawn(fused.captured), drawn(fused.module.graph, fused.module)):
        labels = [node.label for node in graph.nodes]
        assert "conv 3x5/2  4→8, 2 groups" in labels
        assert "linear  128→2" in labels


def test_deep_residual_networks_are_drawn_at_once() -> None:
    class Deep(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(1200):
                x = x + torch.relu(x)
            return x

    graph = drawn(torch.fx.symbolic_trace(Deep()).graph)
    assert len(graph.nodes) == 2402
    assert len(graph.edges) == 1 + 3 * 1200


def random_graph(seed: int, size: int) -> DrawnGraph:
    drawing = random.Random(seed)
    nodes = tuple(DrawnNode(f"n{i}", "other", "x" * drawing.randint(1, 20), "", (), False) for i in range(size))
    pairs = itertools.combinations(range(size), 2)
    edges = tuple((f"n{a}", f"n{b}") for a, b in pairs if b == a + 1 or drawing.random() < 0.08)
    return DrawnGraph(nodes, edges)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_do_not_overlap_and_edges_run_down(seed: int) -> None:
    graph = random_graph(seed, 30)
    placed = place(graph)
    boxes = [(*placed.centres[node.name], placed.widths[node.name]) for node in graph.nodes]
    for (x, y, w), (other_x, other_y, other_w) in itertools.combinations(boxes, 2):
        assert abs(y - other_y) >= BOX_HEIGHT or abs(x - other_x) >= (w + other_w) / 2
    for x, y, w in boxes:
        assert x - w / 2 + 1e-6 >= 0
        assert x + w / 2 <= placed.width + 1e-6
        assert 0 < y < placed.height
    for points in placed.edges:
        assert all(a[1] < b[1] for a, b in itertools.pairwise(points))


def test_a_chain_is_a_straight_line() -> None:
    nodes = tuple(DrawnNode(name, "other", name * 3, "", (), False) for name in "abcdef")
    placed = place(DrawnGraph(nodes, tuple(itertools.pairwise("abcdef"))))
    assert len({round(x, 6) for x, _ in placed.centres.values()}) == 1


def test_two_branches_do_not_cross() -> None:
    nodes = tuple(DrawnNode(name, "other", name, "", (), False) for name in "abcdef")
    graph = DrawnGraph(nodes, (("a", "b"), ("a", "c"), ("c", "d"), ("b", "e"), ("d", "f"), ("e", "f")))
    x = {name: centre[0] for name, centre in place(graph).centres.items()}
    assert (x["b"] - x["c"]) * (x["e"] - x["d"]) > 0


def test_the_welded_graph_stands_beside_what_it_was(content: dict[str, Any]) -> None:
    def read(data: dict[str, Any]) -> DrawnGraph:
        return DrawnGraph(tuple(DrawnNode(**node) for node in data["nodes"]), tuple(map(tuple, data["edges"])))

    before, after = (read(content["graphs"][name]) for name in ("before", "after"))
    placed = place(before)
    beside = place(after, beside=(before, placed))
    (weld,) = [node for node in after.nodes if node.welded]
    heights = [placed.centres[node.name][1] for node in before.nodes if node.where in weld.sources]
    assert min(heights) <= beside.centres[weld.name][1] <= max(heights)


def test_an_empty_graph_has_an_empty_picture() -> None:
    empty = DrawnGraph((), ())
    assert "<rect" not in svg(empty, place(empty), "nothing")


class Checker(HTMLParser):
    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(content: dict[str, Any], tmp_path: Path) -> None:
    write_page(content, tmp_path / "report.html")
    checker = Checker()
    checker.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert checker.open == []
    assert checker.links == []
    assert checker.count["svg"] == 2
    assert checker.count["section"] == 6
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_names_cannot_break_out_of_the_page(content: dict[str, Any]) -> None:
    hostile = "</script><script>alert(1)</script><b onclick='x'>"
    fusion = {**content["fusion"], "refusals": [{"where": hostile, "reason": hostile}], "notes": [hostile]}
    benchmark = json.loads(json.dumps(content["benchmark"]))
    benchmark["timings"][0]["engine"] = hostile
    nodes = [{**node, "label": hostile, "where": hostile} for node in content["graphs"]["before"]["nodes"]]
    graphs = {**content["graphs"], "before": {**content["graphs"]["before"], "nodes": nodes}}
    page = render({**content, "title": hostile, "fusion": fusion, "benchmark": benchmark, "graphs": graphs})
    assert hostile not in page
    assert "<script>alert" not in page
    assert "<b onclick" not in page


@pytest.mark.parametrize("part", ["training", "stages", "fusion", "graphs", "benchmark"])
def test_each_part_may_stand_alone_or_be_left_out(part: str, content: dict[str, Any]) -> None:
    alone = render({"title": "t", part: content[part]})
    without = render({key: value for key, value in content.items() if key != part})
    assert len(re.findall(r"<h2>", alone)) == 1
    assert len(re.findall(r"<h2>", without)) == 4
