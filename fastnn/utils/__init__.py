"""Names where torch has them: `fastnn.utils.data` is `fastnn.data`."""

from . import data

__all__ = ["data"]
