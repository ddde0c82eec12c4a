"""Random networks are welded to the same function. `python benchmarks/fuzz.py --examples 10000` tries many more."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from .graphs import check, draw_network


@given(st.data())
@settings(max_examples=300)
def test_random_networks_stay_the_same_function(data: st.DataObject) -> None:
    check(*draw_network(data.draw))
