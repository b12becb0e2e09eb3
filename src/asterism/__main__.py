"""``python -m asterism``."""

from asterism.cli import main

if __name__ == "__main__":
    main()
