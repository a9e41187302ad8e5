"""The tests are laid out like the source: `tests/<package>/test_<module>.py`; `integration/` crosses packages."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
"""Recorded answers and task questions; tests that need them are skipped where they are absent."""
