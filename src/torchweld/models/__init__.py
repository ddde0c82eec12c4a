"""Networks by name, and the walk of an input through them."""

from torchweld.models.alexnet import AlexNet
from torchweld.models.branched import BranchedNet, Size
from torchweld.models.densenet import DenseNet
from torchweld.models.lenet import LeNet
from torchweld.models.plain import Grammar, PlainCNN
from torchweld.models.resnet import NotesResNet, ResNet
from torchweld.models.table import create, names
from torchweld.models.unet import UNet
from torchweld.models.vgg import VGG
from torchweld.models.walk import Step, Walk, walk

__all__ = [
    "VGG",
    "AlexNet",
    "BranchedNet",
    "DenseNet",
    "Grammar",
    "LeNet",
    "NotesResNet",
    "PlainCNN",
    "ResNet",
    "Size",
    "Step",
    "UNet",
    "Walk",
    "create",
    "names",
    "walk",
]
