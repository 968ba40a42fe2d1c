"""How fast fastnn is beside other libraries, on one machine in one run: ``python -m bench``.

A worker process per library (``worker``) builds the rows of one table (``rows``) and times them;
the runner (``runner``) lets them take turns; ``report`` shows what came out.
"""
