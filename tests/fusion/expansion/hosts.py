"""Small networks to expand, with numbers like a trained network's: nothing is zero, one or symmetric."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 with every norm's statistics and affine drawn at random, weights of both signs."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.3)
            if module.affine:
                nn.init.normal_(module.weight, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, generator=generator)
    return model


def batch(*shape: int, seed: int = 1) -> Tensor:
    """An asymmetric batch in float64 that is not centred."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1.5 + 0.4


class Misnamed(nn.Module):
    """The norms are registered in the other order, and the names say the opposite of what feeds what."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(6)
        self.bn2 = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn2(self.conv1(x)))
        return F.relu(self.bn1(self.conv2(x)) + x)


class ReadTwice(nn.Module):
    """A norm reads the convolution's output, and so does the sum behind it."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class CalledTwice(nn.Module):
    """One convolution at two places, a norm behind each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.first, self.second = nn.BatchNorm2d(6), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv(F.relu(self.first(self.conv(x)))))


class NormCalledTwice(nn.Module):
    """Two convolutions, one norm behind both."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.two(F.relu(self.norm(self.one(x)))))


class Tied(nn.Module):
    """Two convolutions with one weight, and a third without ties."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.three(F.relu(self.two(F.relu(self.one(x)))))


class Functional(nn.Module):
    """The first convolution's weight is used without its module, the last one is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.unused = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.relu(F.conv2d(x, self.one.weight, padding=1) + self.one(x)))


class NormAndAct(nn.BatchNorm2d):
    """A batch norm with its activation inside, as timm has it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class Standardised(nn.Conv2d):
    """A convolution whose forward does more than its class says."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Residual(nn.Module):
    """A network with a stem, a residual block with a strided shortcut, and a classifier of 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.a, self.a_norm = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.b, self.b_norm = nn.Conv2d(12, 12, 3, 1, 1, bias=False), nn.BatchNorm2d(12)
        self.short, self.short_norm = nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.b_norm(self.b(F.relu(self.a_norm(self.a(x)))))
        return self.head(F.relu(y + self.short_norm(self.short(x))).mean((2, 3)))
