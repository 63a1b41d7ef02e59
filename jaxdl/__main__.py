"""`python -m jaxdl replay FOLDER module:function`: does a step whose numbers were not finite once more."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from jaxdl.training.replay import replay


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints where the numbers of a saved step stop being finite; 0, or 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="python -m jaxdl", description="Tools for the folder of a run.")
    commands = parser.add_subparsers(dest="command", required=True)
    again = commands.add_parser("replay", help="do a step whose numbers were not finite once more")
    again.add_argument("FOLDER", help="not_finite/<step> in the folder of the run")
    again.add_argument("SETUP", help="module:function that returns (step, state, data) as they were given to fit")
    options = parser.parse_args(arguments)
    module, _, name = options.SETUP.partition(":")
    sys.path.insert(0, "")  # the module is looked for in the current folder first
    try:
        setup = getattr(importlib.import_module(module), name or "SETUP")
        print(replay(options.FOLDER, *setup()))
    except (ImportError, AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
