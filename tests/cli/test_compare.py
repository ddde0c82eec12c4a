"""`torchweld compare sequence`: table, JSON, files, teaching, and what cannot be used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from torchweld.cli import compare as verb
from torchweld.cli import main
from torchweld.diagnosis import SequenceComparison, compare_sequences


@pytest.fixture(scope="module")
def measured() -> SequenceComparison:
    return compare_sequences()


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch, measured: SequenceComparison) -> None:
    """Measuring takes seconds; these tests are about what is printed and written of it."""
    monkeypatch.setattr(verb, "compare_sequences", lambda seed, watch: watch("measured") or measured)


def test_every_finding_is_printed_whole(capsys: pytest.CaptureFixture[str], measured: SequenceComparison) -> None:
    assert main(["compare", "sequence"]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    for finding in measured.findings:
        line = next(
            line for line in shown.splitlines() if line.startswith(f"{finding.about} ") and f" {finding.core}  " in line
        )
        assert finding.claim in line
        assert finding.measured in line
        assert line.rstrip().endswith(finding.verdict)


def test_json_and_files_hold_the_same(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, measured: SequenceComparison
) -> None:
    out = tmp_path / "made"
    assert main(["compare", "sequence", "--out", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [f["verdict"] for f in shown["findings"]] == [f.verdict for f in measured.findings]
    assert (
        {Path(p).name for p in shown["files"]} == {p.name for p in out.iterdir()} == {"sequence.png", "sequence.json"}
    )
    written = json.loads((out / "sequence.json").read_text())
    assert written["growths"] == shown["growths"]


def test_teaching_reads_the_dates_that_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "sequence", "--train", "--core", "cnn", "--steps", "2", "--read", "3rd of March '12"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "2000 held-out dates" in shown
    assert '"3rd of March \'12": cnn' in shown
    assert main([*words, "--json"]) == 0
    taught = json.loads(capsys.readouterr().out)["taught"]
    assert list(taught[0]["read"]) == ["3rd of March '12"]
    assert taught[0]["config"]["core"] == "cnn"


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/sequence.md: claims and verdicts; figures but for the time, which is the day's, and what is rounding."""

    def rows(text: str) -> list[list[str]]:
        own = [re.split(r"  +", line.strip()) for line in text.splitlines() if "n^" not in line and "  holds" in line]
        return [[re.sub(r"\d\S*e-\d+|(?<![\w.=])0(?![\w.])", "~", cell) for cell in row] for row in own]

    page = (Path(__file__).parents[2] / "docs" / "sequence.md").read_text()
    (shown,) = re.findall(r"```console\n\$ torchweld compare sequence --out \S+\n(.*?)```", page, re.S)
    assert main(["compare", "sequence"]) == 0
    printed = capsys.readouterr().out
    assert rows(shown) == rows(printed)
    assert len(rows(printed)) == 23


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["images"], "known are sequence"),
        (["sequence", "--core", "lstm"], "known are cnn, gru, transformer"),
        (["sequence", "--core", ","], "names no core"),
        (["sequence", "--read", "3 March 2012"], "add --train"),
        (["sequence", "--train", "--read", "3 März 2012"], "'ä'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *words]) == 2
    shown = capsys.readouterr()
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
