"""``python -m bench``: measure, print the table, write JSON."""

from .cli import main

if __name__ == "__main__":
    main()
