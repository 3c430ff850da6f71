"""The output of a job is removed whoever was killed while removing it."""

from __future__ import annotations

import os
from pathlib import Path

from tallystick.execution.output import remove_tree


def test_what_a_process_of_the_same_number_began_to_remove(tmp_path: Path) -> None:
    """In a container every process of ours has the same number."""
    root = tmp_path / "output"
    for number in range(1, 9):
        begun = root / f".removing-{os.getpid()}-{number}"
        (begun / "deep" / "deeper").mkdir(parents=True)
        (root / f"folder-{number}" / "inner" / "innermost").mkdir(parents=True)
        (begun / "deep" / "deeper" / "file").write_text("left")
    remove_tree(root)
    assert not root.exists()
