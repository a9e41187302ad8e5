"""Run the command as `python -m routemoa`."""

from routemoa.cli import main

if __name__ == "__main__":
    main()
