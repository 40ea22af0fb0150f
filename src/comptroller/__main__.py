"""`python -m comptroller`: the command line, and the children of `serve`.

The children begin here, past the command line's own imports: a worker that loads
typer and rich starts later and stays larger.
"""

from __future__ import annotations

import sys


def run() -> None:
    """Runs a child or the command line."""
    match sys.argv[1:]:
        case ["_worker", options]:
            from comptroller.bootstrap import worker

            worker.main(options)
        case ["_control", options]:
            from comptroller.bootstrap import control

            control.main(options)
        case ["_sequencer", options]:
            from comptroller.bootstrap import trail

            trail.main(options)
        case ["_check_policy"]:
            from comptroller.bootstrap import policy_checking

            policy_checking.main()
        case _:
            from comptroller.cli.main import main

            main()


if __name__ == "__main__":
    run()
