"""The ops: checked arguments, output shape, one kernel launch each.

Importing this package gives Tensor its operators and methods.
"""

# ruff: noqa: F401, F403
from . import inplace, setitem
from .activation import *
from .cast import *
from .compare import *
from .composed import *
from .conv import *
from .conv_fused import *
from .creation import *
from .image import *
from .indexing import *
from .linear import *
from .loss import *
from .movement import *
from .norm import *
from .pointwise import *
from .pool import *
from .random import *
from .reduce import *
from .sorting import *
