"""How a benchmark ends: its results go to a file, the bars that it missed to the terminal and into the exit status.

benchmarks/bars.py is imported by those that have bars: contract.py, crowd.py, first_token.py, hostile.py, kill.py, ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn


def finish(results: Mapping[str, Any], file: Path | None) -> NoReturn:
    """Write the results to `file` where there is one, print the bars in `results["missed"]`, exit with 1 for any."""
    if file:
        file.write_text(json.dumps(results, indent=2) + "\n")
    for missed in results["missed"]:
        print(f"MISSED: {missed}")
    sys.exit(1 if results["missed"] else 0)
