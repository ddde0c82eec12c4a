"""The ground floor: errors as data, comparison of tensors by dtype, files written whole."""

from torchweld.core.compare import accuracy_bound, relative_error
from torchweld.core.errors import CheckFailed, InputError, Refusal
from torchweld.core.files import written_whole

__all__ = ["CheckFailed", "InputError", "Refusal", "accuracy_bound", "relative_error", "written_whole"]
