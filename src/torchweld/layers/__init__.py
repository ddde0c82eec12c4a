"""Layers of the trained form, each written out and equal to the field's reference where one exists."""

from torchweld.layers.activations import ActivationReport, LayerActivation, activation_report, draw_reports
from torchweld.layers.addnorm import AddNorm
from torchweld.layers.attention import MultiHeadAttention, attend
from torchweld.layers.dense import DenseBlock, DenseLayer, Transition
from torchweld.layers.dropout import AdaptiveDropout, DropConnectLinear, Dropout, DropPath
from torchweld.layers.dropout_forms import (
    Pass,
    dropconnect_train,
    inverted_predict,
    inverted_train,
    plain_predict,
    plain_train,
    relu_gap,
)
from torchweld.layers.init import fans, initialise, spread
from torchweld.layers.normalisation import BatchNorm1d, BatchNorm2d, LayerNorm
from torchweld.layers.positions import SinusoidalPositions, sinusoids
from torchweld.layers.rdrop import RDrop, r_drop_loss, symmetric_divergence
from torchweld.layers.residual import ResidualBlock
from torchweld.layers.scaling import Saturation, draw_weights, saturation
from torchweld.layers.shortcut import BasicBlock, Bottleneck
from torchweld.layers.small_images import SmallImageConv2d
from torchweld.layers.views import average_views

__all__ = [
    "ActivationReport",
    "AdaptiveDropout",
    "AddNorm",
    "BasicBlock",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bottleneck",
    "DenseBlock",
    "DenseLayer",
    "DropConnectLinear",
    "DropPath",
    "Dropout",
    "LayerActivation",
    "LayerNorm",
    "MultiHeadAttention",
    "Pass",
    "RDrop",
    "ResidualBlock",
    "Saturation",
    "SinusoidalPositions",
    "SmallImageConv2d",
    "Transition",
    "activation_report",
    "attend",
    "average_views",
    "draw_reports",
    "draw_weights",
    "dropconnect_train",
    "fans",
    "initialise",
    "inverted_predict",
    "inverted_train",
    "plain_predict",
    "plain_train",
    "r_drop_loss",
    "relu_gap",
    "saturation",
    "sinusoids",
    "spread",
    "symmetric_divergence",
]
