"""`python -m dbguard`, and the console script."""

from __future__ import annotations

from dbguard.cli import main

if __name__ == "__main__":
    main()
