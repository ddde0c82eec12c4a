"""Primitives that act on each number alone, one row each, with the algebra as its comment.

At a kink the derivative is torch's: 0 for `relu` and `abs`, half to each side where `maximum` ties.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from torchweld.autodiff.rows import Row, binary, flat, row, strong, unary

_ROOT_PI = math.sqrt(math.pi)


def _normal_cdf(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _gelu_slope(x, y, approximate="none"):
    if approximate == "tanh":
        c, k = math.sqrt(2 / math.pi), 0.044715
        th = torch.tanh(c * (x + k * x**3))
        return 0.5 * (1 + th) + 0.5 * x * (1 - th**2) * c * (1 + 3 * k * x**2)
    return _normal_cdf(x) + x * torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


def _pick(condition, a, b, like):
    """`torch.where` whose numbers take the dtype of `like`; two bare numbers would become float32."""
    a, b = (v if isinstance(v, torch.Tensor) else torch.tensor(v, dtype=like.dtype, device=like.device) for v in (a, b))
    return torch.where(condition, a, b)


def _inside(x, low, high):
    """1 where `low <= x <= high`, either bound may be None."""
    mask = torch.ones_like(x, dtype=torch.bool)
    if low is not None:
        mask = mask & (x >= low)
    if high is not None:
        mask = mask & (x <= high)
    return mask


def _elu_slope(x, y, alpha=1.0, scale=1.0, input_scale=1.0):
    return _pick(x > 0, scale, scale * alpha * input_scale * torch.exp(torch.clamp(x, max=0) * input_scale), x)


UNARY: tuple[Row, ...] = (
    unary("neg", torch.neg, lambda x, y: -1),  # d(-x) = -dx
    unary("positive", torch.positive, lambda x, y: 1),  # d(+x) = dx
    unary("sin", torch.sin, lambda x, y: torch.cos(x)),  # d sin x = cos x dx
    unary("cos", torch.cos, lambda x, y: -torch.sin(x)),  # d cos x = -sin x dx
    unary("tan", torch.tan, lambda x, y: 1 + y * y),  # d tan x = (1 + tan^2 x) dx
    unary("asin", torch.asin, lambda x, y: torch.rsqrt(1 - x * x), singular=True),  # dx / sqrt(1 - x^2)
    unary("acos", torch.acos, lambda x, y: -torch.rsqrt(1 - x * x), singular=True),  # -dx / sqrt(1 - x^2)
    unary("atan", torch.atan, lambda x, y: 1 / (1 + x * x)),  # dx / (1 + x^2)
    unary("sinh", torch.sinh, lambda x, y: torch.cosh(x)),  # d sinh x = cosh x dx
    unary("cosh", torch.cosh, lambda x, y: torch.sinh(x)),  # d cosh x = sinh x dx
    unary("tanh", torch.tanh, lambda x, y: 1 - y * y),  # d tanh x = (1 - tanh^2 x) dx
    unary("asinh", torch.asinh, lambda x, y: torch.rsqrt(1 + x * x)),  # dx / sqrt(1 + x^2)
    unary("acosh", torch.acosh, lambda x, y: torch.rsqrt(x * x - 1), singular=True),  # dx / sqrt(x^2 - 1)
    unary("atanh", torch.atanh, lambda x, y: 1 / (1 - x * x), singular=True),  # dx / (1 - x^2)
    unary("exp", torch.exp, lambda x, y: y),  # d e^x = e^x dx
    unary("exp2", torch.exp2, lambda x, y: y * math.log(2)),  # d 2^x = 2^x ln 2 dx
    unary("expm1", torch.expm1, lambda x, y: y + 1),  # d(e^x - 1) = e^x dx
    unary("log", torch.log, lambda x, y: 1 / x, singular=True),  # d ln x = dx / x
    unary("log2", torch.log2, lambda x, y: 1 / (x * math.log(2)), singular=True),  # dx / (x ln 2)
    unary("log10", torch.log10, lambda x, y: 1 / (x * math.log(10)), singular=True),  # dx / (x ln 10)
    unary("log1p", torch.log1p, lambda x, y: 1 / (1 + x), singular=True),  # dx / (1 + x)
    unary("sqrt", torch.sqrt, lambda x, y: 0.5 / y, singular=True),  # dx / (2 sqrt x)
    unary("rsqrt", torch.rsqrt, lambda x, y: -0.5 * y / x, singular=True),  # -x^(-3/2) / 2 dx
    unary("reciprocal", torch.reciprocal, lambda x, y: -y * y, singular=True),  # d(1/x) = -dx / x^2
    unary("square", torch.square, lambda x, y: 2 * x),  # d x^2 = 2x dx
    unary("abs", torch.abs, lambda x, y: torch.sign(x)),  # d|x| = sign(x) dx
    unary("sigmoid", torch.sigmoid, lambda x, y: y * (1 - y)),  # s' = s(1 - s)
    unary("log_sigmoid", lambda input: F.logsigmoid(input), lambda x, y: torch.sigmoid(-x)),  # (ln s)' = s(-x)
    unary("logit", lambda input, eps=None: torch.logit(input, eps),
          lambda x, y, eps=None: 1 / (x * (1 - x)) if eps is None
          else _pick(_inside(x, eps, 1 - eps), 1 / (x * (1 - x)), 0, x), singular=True),  # dx / (x(1 - x))
    unary("erf", torch.erf, lambda x, y: 2 / _ROOT_PI * torch.exp(-x * x)),  # 2/sqrt(pi) e^(-x^2) dx
    unary("erfc", torch.erfc, lambda x, y: -2 / _ROOT_PI * torch.exp(-x * x)),  # -2/sqrt(pi) e^(-x^2) dx
    unary("erfinv", torch.erfinv, lambda x, y: _ROOT_PI / 2 * torch.exp(y * y), singular=True),  # the inverse's slope
    unary("lgamma", torch.lgamma, lambda x, y: torch.digamma(x)),  # (ln Gamma)' = psi
    unary("digamma", torch.digamma, lambda x, y: _polygamma(1, x)),  # psi' = psi_1
    unary("sinc", torch.sinc, lambda x, y: _sinc_slope(x, y)),  # (cos pi x - sinc x) / x, 0 at 0
    unary("relu", lambda input, inplace=False: torch.relu(input), lambda x, y, inplace: x > 0),  # [x > 0] dx
    unary("relu6", lambda input, inplace=False: F.relu6(input), lambda x, y, inplace: (x > 0) & (x < 6)),  # [0<x<6] dx
    unary("leaky_relu", lambda input, negative_slope=0.01: F.leaky_relu(input, negative_slope),
          lambda x, y, slope: _pick(x > 0, 1, slope, x)),  # dx or slope dx
    unary("elu",
          lambda input, alpha=1.0, scale=1.0, input_scale=1.0: torch._C._nn.elu(input, alpha, scale, input_scale),
          _elu_slope),  # dx or alpha e^x dx
    unary("celu", lambda input, alpha=1.0: torch.celu(input, alpha),
          lambda x, y, alpha: _elu_slope(x, y, alpha, 1.0, 1 / alpha)),  # dx or e^(x/alpha) dx
    unary("selu", lambda input: torch.selu(input),
          lambda x, y: _elu_slope(x, y, 1.6732632423543772, 1.0507009873554805)),  # scaled elu
    unary("gelu", lambda input, approximate="none": F.gelu(input, approximate=approximate),
          _gelu_slope),  # (x Phi(x))' = Phi + x phi
    unary("silu", lambda input: F.silu(input),
          lambda x, y: torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))),  # (x s)' = s(1 + x(1 - s))
    unary("mish", lambda input: F.mish(input), lambda x, y: _mish_slope(x)),  # (x tanh sp(x))'
    unary("softplus", lambda input, beta=1, threshold=20: F.softplus(input, beta, threshold),
          lambda x, y, beta, threshold: _pick(x * beta > threshold, 1, torch.sigmoid(x * beta), x)),  # s(beta x)
    unary("hardtanh", lambda input, min_val=-1.0, max_val=1.0: F.hardtanh(input, min_val, max_val),
          lambda x, y, low, high: (x > low) & (x < high)),  # [low < x < high] dx
    unary("hardsigmoid", lambda input: F.hardsigmoid(input),
          lambda x, y: _pick((x > -3) & (x < 3), 1 / 6, 0, x)),  # [|x|<3]/6 dx
    unary("hardswish", lambda input: F.hardswish(input),
          lambda x, y: _pick(x <= -3, 0, _pick(x < 3, x / 3 + 0.5, 1, x), x)),  # (x relu6(x + 3) / 6)'
    unary("hardshrink", lambda input, lambd=0.5: F.hardshrink(input, lambd),
          lambda x, y, lam: torch.abs(x) > lam),  # [|x| > lambda] dx
    unary("softshrink", lambda input, lambd=0.5: torch._C._nn.softshrink(input, lambd),
          lambda x, y, lam: torch.abs(x) > lam),  # [|x| > lambda] dx
    unary("threshold", lambda input, threshold, value: torch.threshold(input, threshold, value),
          lambda x, y, threshold, value: x > threshold),  # [x > threshold] dx
    unary("nan_to_num", lambda input, nan=0.0, posinf=None, neginf=None: torch.nan_to_num(input, nan, posinf, neginf),
          lambda x, y, *p: torch.isfinite(x)),  # dx where x is finite
    unary("deg2rad", torch.deg2rad, lambda x, y: math.pi / 180),  # pi/180 dx
    unary("rad2deg", torch.rad2deg, lambda x, y: 180 / math.pi),  # 180/pi dx
    unary("frac", torch.frac, lambda x, y: 1),  # x minus a constant
    flat("floor", torch.floor),  # piecewise constant
    flat("ceil", torch.ceil),  # piecewise constant
    flat("round", lambda input, decimals=0: torch.round(input, decimals=decimals)),  # piecewise constant
    flat("trunc", torch.trunc),  # piecewise constant
    flat("sign", torch.sign),  # piecewise constant
)  # fmt: skip

POLYGAMMA = row(
    "polygamma", lambda n, input: torch.polygamma(n, input),
    *[{1: lambda t, y, n, x: t * _polygamma(n + 1, x)}] * 2)  # psi_n' = psi_(n+1)  # fmt: skip


def _polygamma(n, x):
    return POLYGAMMA(n, x)


def _sinc_slope(x, y):
    near = torch.abs(x) < 1e-2  # there cos(pi x) - sinc(x) cancels; the series to x^5 is exact to rounding
    s = (math.pi * x) ** 2
    series = -(math.pi**2) * x * (1 / 3 - s / 30 + s**2 / 840)
    return torch.where(near, series, (torch.cos(math.pi * x) - y) / _pick(near, 1, x, x))


def _mish_slope(x):
    tanh_softplus = torch.tanh(F.softplus(x))
    return tanh_softplus + x * torch.sigmoid(x) * (1 - tanh_softplus**2)


def _tie(mine, other, y):
    """The share of a maximum (or minimum) that belongs to `mine`: 1, 0, or a half where both are equal."""
    return _pick(mine == other, 0.5, (mine > other).to(y.dtype), y)


def _power_by_exponent(a, b, y):
    a = a if isinstance(a, torch.Tensor) else torch.tensor(a, dtype=y.dtype, device=y.device)
    nothing = (a == 0) & (b >= 0)  # 0^b stays 0, and 0^0 is 1 by convention, so nothing moves with b
    return _pick(nothing, 0, y * torch.log(_pick(nothing, 1, a, y)), y)


def _power_by_base(a, b, y):
    if not isinstance(b, torch.Tensor):
        return torch.zeros_like(a) if b == 0 else b * torch.pow(a, b - 1) if b != 2 else 2 * a
    return _pick(b == 0, 0, b * torch.pow(a, b - 1), y)


def _quotient(input, other, rounding_mode=None):
    return input / other if rounding_mode is None else torch.div(input, other, rounding_mode=rounding_mode)


def _exact(rounding_mode, value):
    return value if rounding_mode is None else 0.0


BINARY: tuple[Row, ...] = (
    row("add", lambda input, other, alpha=1: input + (other if alpha == 1 else other * alpha),
        *[{0: lambda t, y, a, b, alpha: t,
           1: lambda t, y, a, b, alpha: t if alpha == 1 else t * alpha}] * 2),  # d(a + b) = da + db
    row("sub", lambda input, other, alpha=1: input - (other if alpha == 1 else other * alpha),
        *[{0: lambda t, y, a, b, alpha: t, 1: lambda t, y, a, b, alpha: t * -alpha}] * 2),  # d(a - b) = da - db
    binary("mul", lambda input, other: input * other,
           lambda a, b, y: b, lambda a, b, y: a),  # d(ab) = b da + a db
    row("div", _quotient,  # d(a/b) = da/b - y/b db
        *[{0: lambda t, y, a, b, mode: strong(t, _exact(mode, 1 / b)),
           1: lambda t, y, a, b, mode: strong(t, _exact(mode, -(a / b) / b))}] * 2),
    binary("pow", lambda input, exponent: torch.pow(input, exponent),
           _power_by_base, _power_by_exponent, singular=True),  # d a^b = b a^(b-1) da + a^b ln a db
    binary("maximum", lambda input, other: torch.maximum(input, other),
           lambda a, b, y: _tie(a, b, y), lambda a, b, y: _tie(b, a, y)),  # [a > b] da + [b > a] db
    binary("minimum", lambda input, other: torch.minimum(input, other),
           lambda a, b, y: _tie(b, a, y), lambda a, b, y: _tie(a, b, y)),  # [a < b] da + [b < a] db
    binary("fmax", lambda input, other: torch.fmax(input, other),
           lambda a, b, y: (a >= b) | torch.isnan(b), lambda a, b, y: ~((a >= b) | torch.isnan(b))),  # the larger's
    binary("fmin", lambda input, other: torch.fmin(input, other),
           lambda a, b, y: (a <= b) | torch.isnan(b), lambda a, b, y: ~((a <= b) | torch.isnan(b))),  # the smaller's
    binary("atan2", lambda input, other: torch.atan2(input, other),
           lambda a, b, y: b / (a * a + b * b), lambda a, b, y: -a / (a * a + b * b),
           singular=True),  # (b da - a db) / (a^2 + b^2)
    binary("hypot", lambda input, other: torch.hypot(input, other),
           lambda a, b, y: a / y, lambda a, b, y: b / y, singular=True),  # (a da + b db) / y
    binary("remainder", lambda input, other: torch.remainder(input, other),
           lambda a, b, y: 1.0, lambda a, b, y: -torch.floor(a / b)),  # da - floor(a/b) db
    binary("fmod", lambda input, other: torch.fmod(input, other),
           lambda a, b, y: 1.0, lambda a, b, y: -torch.trunc(a / b)),  # da - trunc(a/b) db
    binary("logaddexp", lambda input, other: torch.logaddexp(input, other),
           lambda a, b, y: torch.exp(a - y), lambda a, b, y: torch.exp(b - y)),  # softmax weights
    binary("logaddexp2", lambda input, other: torch.logaddexp2(input, other),
           lambda a, b, y: torch.exp2(a - y), lambda a, b, y: torch.exp2(b - y)),  # softmax weights, base 2
    binary("xlogy", lambda input, other: torch.xlogy(input, other),
           lambda a, b, y: torch.log(b), lambda a, b, y: a / b, singular=True),  # ln b da + a/b db
    binary("copysign", lambda input, other: torch.copysign(input, other),
           lambda a, b, y: torch.sign(a) * torch.sign(y),
           lambda a, b, y: 0.0),  # sign(a) sign(b) da
)  # fmt: skip

CLAMP = row(
    "clamp",
    lambda input, min=None, max=None: torch.clamp(input, min, max),
    *[
        {
            0: lambda t, y, x, low, high: t * _inside(x, low, high),
            1: lambda t, y, x, low, high: t * (x < low) * (True if high is None else low < high),
            2: lambda t, y, x, low, high: t * ((x > high) if low is None else (x > high) | (low >= high)),
        }
    ]
    * 2,
)  # the tangent of whichever of x, low, high is the value

ELEMENTWISE: tuple[Row, ...] = (*UNARY, POLYGAMMA, *BINARY, CLAMP)
