"""``python -m tallystick`` is the same program as ``tally``."""

from tallystick.cli.main import main

if __name__ == "__main__":
    main()
