"""Where the load goes. Apart from what needs locust, which changes how Python does input and output when imported."""

from typing import Final

PROJECT: Final = "flytesnacks"
DOMAIN: Final = "development"
VERSION: Final = "load"
"""Of the programs that are launched."""
