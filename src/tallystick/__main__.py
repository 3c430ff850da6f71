"""``python -m tallystick`` is the same program as ``tally``."""

import sys

if __name__ == "__main__":
    try:
        from tallystick.cli.main import main
    except KeyboardInterrupt:  # pressed while the program is read
        sys.exit(130)
    main()
