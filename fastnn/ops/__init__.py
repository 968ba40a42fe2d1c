"""The ops: checked arguments, output shape, one kernel launch each.

Importing this package gives Tensor its operators and methods.
"""

# ruff: noqa: F403
from . import activation as _activation
from . import cast as _cast
from . import compare as _compare
from . import creation as _creation
from . import indexing as _indexing
from . import inplace as _inplace
from . import linear as _linear
from . import loss as _loss
from . import movement as _movement
from . import pointwise as _pointwise
from . import random as _random
from . import reduce as _reduce
from . import sorting as _sorting
from .activation import *
from .cast import *
from .compare import *
from .creation import *
from .indexing import *
from .linear import *
from .loss import *
from .movement import *
from .pointwise import *
from .random import *
from .reduce import *
from .sorting import *

__all__: list[str] = []
__all__ += _activation.__all__
__all__ += _cast.__all__
__all__ += _compare.__all__
__all__ += _creation.__all__
__all__ += _indexing.__all__
__all__ += _inplace.__all__
__all__ += _linear.__all__
__all__ += _loss.__all__
__all__ += _movement.__all__
__all__ += _pointwise.__all__
__all__ += _random.__all__
__all__ += _reduce.__all__
__all__ += _sorting.__all__
