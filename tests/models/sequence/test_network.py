"""What every core owes: invisible padding, no look ahead, a cache that changes nothing, capture, clear errors."""

from __future__ import annotations

import pytest
import torch
from tests.models.sequence.small import CORES, SOURCE, TARGET, batch, model
from torch.export import Dim

from torchweld.core import InputError
from torchweld.fusion import fuse
from torchweld.models import sequence
from torchweld.models.sequence import Sizes

pytestmark = [
    pytest.mark.parametrize("core", CORES),
    pytest.mark.filterwarnings("ignore:The tensor attributes"),  # torch.export's, about torch's own nn.GRU
]


def test_gradients_reach_every_parameter(core: str) -> None:
    torch.manual_seed(0)
    net = model(core).train()
    source, lengths, target = batch()
    net(source, target, lengths).square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        # a key's bias shifts all scores of a query alike, and softmax does not see it; so it is in exact arithmetic
        assert name.endswith("key.bias") or p.grad.abs().sum() > 0, name


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("parts", [(1,) * 6, (2, 1, 3), (6,)])
def test_decoding_in_parts_is_decoding_at_once(core: str, parts: tuple[int, ...], positions: bool) -> None:
    torch.manual_seed(1)
    net = model(core, positions=positions)
    source, lengths, target = batch()
    memory, cache, pieces = net.encode(source, lengths), None, []
    whole = net.decode(memory, target)[0]
    for piece in target.split(parts, 1):
        logits, cache = net.decode(memory if cache is None else None, piece, cache)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-12, atol=1e-12)
    assert cache is not None
    assert cache.position == 6
    torch.testing.assert_close(net(source, target, lengths), whole, rtol=0, atol=0)


def test_padding_is_invisible(core: str) -> None:
    torch.manual_seed(2)
    net = model(core)
    source, lengths, target = batch()
    together = net(source, target, lengths)
    other = source.where(torch.arange(7) < lengths[:, None], (source + 1) % SOURCE)
    torch.testing.assert_close(net(other, target, lengths), together, rtol=0, atol=0)
    for i, n in enumerate(lengths.tolist()):
        alone = net(source[i : i + 1, :n], target[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-11, atol=1e-11)


def test_without_lengths_padding_would_be_seen(core: str) -> None:
    """The test above has teeth: the mistaken form, which reads the padding, fails it."""
    torch.manual_seed(2)
    net = model(core)
    source, lengths, target = batch()
    assert (net(source, target)[1] - net(source, target, lengths)[1]).abs().max() > 1e-4


def test_a_later_token_changes_nothing_before_it(core: str) -> None:
    torch.manual_seed(3)
    net = model(core)
    source, lengths, target = batch()
    before = net(source, target, lengths)
    for t in range(6):
        changed = target.clone()
        changed[:, t] = (changed[:, t] + 1) % TARGET
        after = net(source, changed, lengths)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-13)
        assert ((after[:, t] - before[:, t]).abs().amax(-1) > 1e-6).all()


def test_a_source_of_nothing_gives_numbers(core: str) -> None:
    torch.manual_seed(4)
    net = model(core)
    source, _, target = batch()
    y = net(source, target, torch.zeros(4, dtype=torch.long))
    assert y.isfinite().all()
    torch.testing.assert_close(net((source + 1) % SOURCE, target, torch.zeros(4, dtype=torch.long)), y, rtol=0, atol=0)
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_the_cache_is_reordered_with_its_samples(core: str) -> None:
    torch.manual_seed(5)
    net = model(core)
    source, lengths, target = batch()
    rows = torch.tensor([2, 0, 0])
    cache = net.decode(net.encode(source, lengths), target[:, :4])[1].select(rows)
    whole = net(source, target, lengths)[rows, 4:]
    torch.testing.assert_close(net.decode(None, target[rows, 4:], cache)[0], whole, rtol=1e-12, atol=1e-12)


def test_exported_it_gives_the_same_at_other_sizes(core: str) -> None:
    """Any batch; any lengths too, but for the RNN, whose steps torch.export writes out one by one."""
    torch.manual_seed(6)
    net = model(core, layers=1)
    source, lengths, target = batch()
    samples, ahead, behind = Dim("samples"), Dim("ahead", max=40), Dim("behind", max=40)
    sizes = ({0: samples, 1: ahead}, {0: samples, 1: behind}, {0: samples})
    if core == "gru":
        sizes = ({0: samples}, {0: samples}, {0: samples})
    program = torch.export.export(net, (source, target, lengths), dynamic_shapes=sizes, strict=False).module()
    shapes = [(2, 7, 6)] if core == "gru" else [(2, 7, 6), (3, 12, 9), (5, 3, 2)]
    for count, ahead_size, behind_size in shapes:
        other, later = torch.randint(SOURCE, (count, ahead_size)), torch.randint(TARGET, (count, behind_size))
        own = torch.randint(1, ahead_size + 1, (count,))
        torch.testing.assert_close(program(other, later, own), net(other, later, own))


def test_padded_to_the_exported_length_shorter_sources_are_read(core: str) -> None:
    """What makes one length enough."""
    torch.manual_seed(6)
    net = model(core)
    source, lengths, target = batch()
    program = torch.export.export(net, (source, target, lengths), strict=False).module()
    short = torch.randint(SOURCE, (4, 5))
    padded = torch.cat((short, torch.zeros(4, 2, dtype=torch.long)), 1)
    torch.testing.assert_close(program(padded, target, torch.full((4,), 5)), net(short, target))


def test_the_whole_model_welds_with_a_certificate(core: str) -> None:
    torch.manual_seed(8)
    net = model(core, layers=1).float()
    source, lengths, target = batch()
    fused = fuse(net, (source, target, lengths))
    certificate = fused.report.certificate
    assert certificate.twin_error <= certificate.twin_bound
    torch.testing.assert_close(fused(source, target, lengths), net(source, target, lengths))
    assert fused.report.after.linears < fused.report.before.linears  # keys and values in one


def test_the_encoder_welds_with_a_certificate(core: str) -> None:
    torch.manual_seed(7)
    encoder = model(core).float().encoder
    x, lengths = torch.randn(3, 6, 12), torch.tensor([6, 2, 4])
    fused = fuse(encoder, (x, lengths))
    certificate = fused.report.certificate
    assert certificate.twin_error <= certificate.twin_bound
    torch.testing.assert_close(fused(x, lengths), encoder(x, lengths))
    assert fused.report.after.operators < fused.report.before.operators


@pytest.mark.parametrize(
    ("source", "target", "lengths", "named"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.long), None, "the source must be whole numbers"),
        (torch.zeros(3, dtype=torch.long), torch.zeros(2, 1, dtype=torch.long), None, "the source must be"),
        (torch.zeros(2, 3, dtype=torch.long), torch.zeros(3, 1, dtype=torch.long), None, "2 samples"),
        (torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 0, dtype=torch.long), None, "the target is empty"),
        (torch.full((2, 3), SOURCE), torch.zeros(2, 1, dtype=torch.long), None, "the model knows 0 to 16"),
        (torch.zeros(2, 3, dtype=torch.long), torch.full((2, 1), -1), None, "the target has tokens from -1"),
        (torch.zeros(2, 41, dtype=torch.long), torch.zeros(2, 1, dtype=torch.long), None, "longest=41"),
        (torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 1, dtype=torch.long), torch.ones(3), "give one each"),
    ],
)
def test_what_it_cannot_read_is_named(core: str, source, target, lengths, named: str) -> None:
    with pytest.raises(InputError, match=named):
        model(core)(source, target, lengths)


def test_decode_needs_something_to_go_on(core: str) -> None:
    with pytest.raises(InputError, match="memory"):
        model(core).decode(None, torch.zeros(1, 1, dtype=torch.long))


@pytest.mark.parametrize("changed", [{"features": 0}, {"layers": 0}, {"source_tokens": 0}, {"heads": 0}])
def test_empty_sizes_are_refused(core: str, changed: dict[str, int]) -> None:
    with pytest.raises(InputError, match="=0 is not positive"):
        sequence.create(core, Sizes(**{"source_tokens": 5, "target_tokens": 5, **changed}))
