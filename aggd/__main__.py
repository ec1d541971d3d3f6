"""``python -m aggd`` is ``aggd``."""

from aggd.cli import main

main()
