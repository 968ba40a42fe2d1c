"""Python threads that call at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def together(n: int, work: Callable[[int], Any]) -> list[Any]:
    """work(i) for i in 0..n-1, each in a thread of its own, all starting at once."""
    results: list[Any] = [None] * n
    errors: list[BaseException] = []
    barrier = threading.Barrier(n)

    def run(i: int) -> None:
        try:
            barrier.wait()
            results[i] = work(i)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results
