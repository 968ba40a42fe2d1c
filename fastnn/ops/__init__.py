"""The ops: checked arguments, output shape, one kernel launch each.

Importing this package gives Tensor its operators and methods.
"""

# ruff: noqa: F403
from . import creation as _creation
from . import linear as _linear
from . import movement as _movement
from . import random as _random
from .creation import *
from .linear import *
from .movement import *
from .random import *

__all__: list[str] = []
__all__ += _creation.__all__
__all__ += _linear.__all__
__all__ += _movement.__all__
__all__ += _random.__all__
