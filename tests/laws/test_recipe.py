"""Recipes: equal when their trees are, computed when asked, from the state they are given."""

from __future__ import annotations

import pytest
import torch

from torchweld.maps import Recipe, add, apply, batch_norm, compose, convolution, literal, parameter, total

from .oracles import assert_same, random_numbers


def conv(name: str):
    return convolution(
        parameter(f"{name}.weight"), parameter(f"{name}.bias"), in_channels=2, out_channels=2, kernel=(3,)
    )


def norm(name: str):
    stats = (parameter(f"{name}.{n}") for n in ("weight", "bias", "running_mean", "running_var"))
    return batch_norm(*stats, 1e-5, 2)


def test_trees_that_are_alike_are_equal_and_hash_alike():
    one, same = compose(norm("n"), conv("c")), compose(norm("n"), conv("c"))
    assert one == same
    assert one.weight is not same.weight
    assert hash(one.weight) == hash(same.weight)
    assert len({one, same}) == 1


@pytest.mark.parametrize(
    "other",
    [
        compose(norm("n"), conv("d")),  # another parameter
        compose(norm("m"), conv("c")),
        add(conv("c"), conv("c")),  # another law
        conv("c"),
    ],
)
def test_trees_that_differ_are_not(other):
    assert compose(norm("n"), conv("c")).weight != other.weight
    assert compose(norm("n"), conv("c")) != other


def test_the_order_of_the_inputs_counts():
    assert total(parameter("a"), parameter("b")) != total(parameter("b"), parameter("a"))
    assert parameter("a") != "a"


def test_literals_are_equal_as_numbers_and_by_identity_as_tensors():
    values = random_numbers(0, 3)
    assert literal(2.0) == literal(2)
    assert literal(2.0) != literal(3.0)
    assert literal(values).evaluate({}) is not None
    assert literal(values) != literal(values.clone())


def test_trees_of_one_hash_are_still_told_apart():
    one, other = (total(literal(value), parameter("a")) for value in (-1.0, -2.0))
    assert hash(one) == hash(other)  # Python hashes -1 and -2 alike
    assert one != other


def test_recipes_are_frozen():
    with pytest.raises(AttributeError):
        parameter("a").law = "other"  # type: ignore[misc]


def test_parameters_are_named_once_in_the_order_of_the_tree():
    weld = compose(norm("n"), conv("c"))
    assert weld.weight.parameters() == ("n.running_var", "n.weight", "c.weight")
    assert weld.bias.parameters() == ("n.running_var", "n.weight", "c.bias", "n.running_mean", "n.bias")
    assert literal(1.0).parameters() == ()
    assert total(parameter("a"), parameter("a")).parameters() == ("a",)


def test_walk_goes_parents_first_and_names_the_laws():
    tree = total(parameter("a"), total(parameter("b"), literal(1.0)))
    assert [r.law for r in tree.walk()] == ["add", "parameter", "add", "parameter", "literal"]
    assert next(tree.walk()) is tree
    assert {"compose", "batch norm", "parameter"} <= {r.law for r in compose(norm("n"), conv("c")).weight.walk()}


def test_evaluating_reads_the_state_each_time():
    weld, x = compose(conv("b"), conv("a")), random_numbers(0, 1, 2, 9)
    for seed in (1, 2):
        state = {f"{n}.weight": random_numbers(seed + i, 2, 2, 3) for i, n in enumerate("ab")}
        state |= {f"{n}.bias": random_numbers(seed + 5 + i, 2) for i, n in enumerate("ab")}
        assert_same(apply(weld, x, state), apply(conv("b"), apply(conv("a"), x, state), state))


def test_a_missing_parameter_is_an_error_that_names_it():
    with pytest.raises(KeyError, match=r"c\.weight"):
        conv("c").weight_in({})


def test_laws_compute_nothing_until_they_are_asked():
    def never(*_: object) -> torch.Tensor:
        raise AssertionError("computed while planning")

    weight = Recipe("test", never)
    a = convolution(weight, weight, in_channels=2, out_channels=2, kernel=(3,))
    made = add(compose(a, a), compose(a, a))
    with pytest.raises(AssertionError, match="while planning"):
        made.weight_in({})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_arithmetic_is_in_float64_whatever_the_parameters_are(dtype):
    values = random_numbers(0, 3).to(dtype)
    assert parameter("p").evaluate({"p": values}).dtype == torch.float64
    assert_same(total(parameter("p"), literal(values)).evaluate({"p": values}), values.double() * 2)


def test_integers_stay_integers_and_nothing_tracks_gradients():
    assert parameter("n").evaluate({"n": torch.tensor([3])}).dtype == torch.int64
    held = torch.nn.Parameter(torch.ones(2))
    assert not parameter("p").evaluate({"p": held}).requires_grad
    assert not literal(held).evaluate({}).requires_grad


def test_a_batch_norm_uses_the_right_statistic_in_the_right_place():
    state = {f"n.{name}": random_numbers(i, 2).abs() for i, name in enumerate(("weight", "bias"))}
    state |= {"n.running_mean": random_numbers(7, 2), "n.running_var": random_numbers(8, 2).abs()}
    x = random_numbers(9, 4, 2, 5)
    expected = torch.nn.functional.batch_norm(
        x, state["n.running_mean"], state["n.running_var"], state["n.weight"], state["n.bias"], eps=1e-5
    )
    assert_same(apply(norm("n"), x, state), expected)
