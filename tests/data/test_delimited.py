"""Tables: any delimiter, with a header or without, every bad line named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from torchweld import data


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t", " ", ", ", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["", "length,width,price"])
def test_delimiters_line_ends_and_headers(tmp_path: Path, mark: str, end: str, header: str) -> None:
    lines = ["1,2.5,10.25", "-3,4e-2,20.5", "5,6,31.75"]
    text = end.join(line.replace(",", mark) for line in [header, *lines] if line) + end
    splits = data.read(write(tmp_path / "a.dat", text), holdout=0)
    assert np.asarray(splits.train.inputs).tolist() == [[1, 2.5], [-3, np.float32(0.04)], [5, 6]]
    assert np.asarray(splits.train.targets).tolist() == [[10.25], [20.5], [31.75]]
    assert splits.task == "regress"
    assert splits.columns == (("length", "width") if header else ("column 1", "column 2"))


def test_words_as_targets_are_classes(tmp_path: Path) -> None:
    text = "a,b,kind\n1,2,oak\n3,4,ash\n5,6,oak\n"
    splits = data.read(write(tmp_path / "a.csv", text), holdout=0)
    assert splits.classes == ("ash", "oak")
    assert splits.train.targets.tolist() == [1, 0, 1]


def test_few_whole_numbers_are_classes_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\n".join(f"{i}.5,{i % 2 * 10}" for i in range(8)))
    assert data.read(path, holdout=0).classes == ("0", "10")
    assert data.read(path, holdout=0, task="regress").train.targets.dtype == np.float32


def test_classes_of_whole_numbers_are_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\n".join(f"0.5,{value}" for value in (10, 9, 100, 9, 10, 100)))
    assert data.read(path, holdout=0).classes == ("9", "10", "100")


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    text = "x,y,t\n1,2,3.5\n1,2\n1,,3.5\n1,abc,3.5\n\n1,2,inf\n1,2,NA\n4,5,6.5\n"
    found = [str(problem) for problem in data.problems(write(tmp_path / "a.csv", text))]
    assert len(found) == 5
    for words in (
        "line 3: has 2 columns where others have 3",
        "line 4: has a value missing",
        "line 5: 'abc' is not a finite number",
        "line 7: target 'inf' is not a finite number",
        "line 8: has a value missing",
    ):
        assert any(words in line for line in found)


def test_a_byte_order_mark_comments_and_quotes(tmp_path: Path) -> None:
    text = '\ufeff# made by hand\n"a, b",c\n"1","2.5"\n2,3.5\n'
    splits = data.read(write(tmp_path / "a.csv", text), holdout=0)
    assert splits.columns == ("a, b",)
    assert np.asarray(splits.train.inputs).tolist() == [[1], [2]]


def test_scale_and_test_part_come_from_train(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "\n".join(f"{i}.5,{10 * i}.25" for i in range(10)))
    test = write(tmp_path / "test.csv", "100.5,7.25\n200.5,8.25")
    splits = data.read(train, test=test, holdout=0)
    assert splits.test is not None
    assert splits.mean == (5.0,)
    assert splits.scale.target_mean == (45.25,)
    assert abs(splits.std[0] - np.std(np.arange(10))) < 1e-9
    assert np.asarray(splits.test.inputs).tolist() == [[100.5], [200.5]]
    wrong = write(tmp_path / "wrong.csv", "1,2,3.5\n")
    assert "has 3 columns where others have 2" in str(data.problems(train, test=wrong)[0])


def test_train_and_test_tables_in_one_folder(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1,10.5\n2,20.5\n3,30.5\n")
    write(tmp_path / "test.csv", "4,40.5\n")
    splits = data.read(tmp_path, holdout=0)
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (3, 1)


def test_a_class_that_training_lacks_is_a_problem(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "1,oak\n2,ash\n3,oak\n")
    test = write(tmp_path / "test.csv", "1,oak\n2,elm\n")
    (problem,) = data.problems(train, test=test)
    assert "'elm'" in problem.what
    assert "line 2" in problem.path


@pytest.mark.parametrize("text", ["", "\n\n", "1\n2\n", "just words\n"])
def test_no_table_at_all(tmp_path: Path, text: str) -> None:
    assert data.problems(write(tmp_path / "a.csv", text))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00,1\n")
    assert "UTF-8" in str(data.problems(path)[0])
