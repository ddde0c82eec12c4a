"""The roofline's constants: what ships for a kind of device, or what calibration has stored for this machine."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from torchweld.fusion.remembered import Remembered


@dataclass(frozen=True)
class Machine:
    """FLOPs a second of products, of convolutions of many channels and of depthwise ones; bytes; seconds a call."""

    linear_flops_per_second: float
    conv_flops_per_second: float
    depthwise_flops_per_second: float
    bytes_per_second: float
    launch_seconds: float

    def to_dict(self) -> dict[str, float]:
        """The constants by name, ready for JSON."""
        return asdict(self)


MACHINES = {
    "cpu": Machine(1.1e11, 1.1e11, 2.2e10, 3e10, 1e-5),
    "cuda": Machine(2.2e13, 2.2e13, 4.5e12, 2e12, 6e-6),
}
CALIBRATED = "machines.json"


def machine_for(device: str, dtype: torch.dtype) -> Machine:
    """The constants for a kind of device ("cpu", "cuda") and a dtype: this machine's own where they are stored."""
    stored = Remembered(CALIBRATED).get(_key(device, dtype))
    names = {f.name for f in fields(Machine)}
    usable = isinstance(stored, dict) and stored.keys() == names
    if usable and all(isinstance(v, (int, float)) and v > 0 for v in stored.values()):
        return Machine(**stored)
    return MACHINES[device]


def shipped_machine(device: str) -> Machine:
    """The constants that are used where nothing is stored."""
    return MACHINES[device]


def remember_machine(device: str, dtype: torch.dtype, machine: Machine) -> Path:
    """Stores the constants for this machine, and returns the file that they are in."""
    remembered = Remembered(CALIBRATED)
    remembered.update({_key(device, dtype): machine.to_dict()})
    return remembered.path


def this_machine(device: str) -> str:
    """What timings depend on besides the work: the processor or card, torch's version, the number of threads."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{_processor()}, torch {torch.__version__}, threads {torch.get_num_threads()}"


def _key(device: str, dtype: torch.dtype) -> str:
    return f"{this_machine(device)}, {str(dtype).removeprefix('torch.')}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
