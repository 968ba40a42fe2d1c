"""The errors fastnn raises. Each also is the built-in exception people already catch."""

__all__ = [
    "CorruptFileError",
    "DTypeError",
    "GraphError",
    "IndexRangeError",
    "LimitError",
    "ShapeError",
    "UnsupportedOpError",
]


class ShapeError(ValueError):
    """Sizes, ranks or geometry do not fit."""


class DTypeError(TypeError):
    """The element type is not one the operation takes."""


class IndexRangeError(IndexError):
    """An index, class or token lies outside its range."""


class GraphError(RuntimeError):
    """The autograd graph cannot do what was asked."""


class CorruptFileError(ValueError):
    """A file is not what it says it is."""


class LimitError(ValueError):
    """A stated limit would be exceeded."""


class UnsupportedOpError(NotImplementedError):
    """An operation or option this engine does not have."""
