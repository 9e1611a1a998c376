"""Bindings compiled to small programs, and their evaluation over upstream outputs. (see below)"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class BindingProgram:
    pass
