"""Results that mean harm, unpacked: the table is in results.py. And the page of both tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from page import PAGE, page
from results import RESULTS

from tallystick.storage.archive import ResultLimits, unpack
from tallystick.storage.zips import BadArchive

LIMITS = ResultLimits(max_bytes=32 << 20, max_files=1_000)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_stays_where_it_is_put(name: str, tmp_path: Path) -> None:
    result = RESULTS[name]
    (tmp_path / "result.zip").write_bytes(result.make())
    target = tmp_path / "here" / "out"
    target.parent.mkdir()
    if result.answer.startswith("no"):
        unpack(tmp_path / "result.zip", target, LIMITS)
        files = [path for path in target.rglob("*") if not path.is_dir()]
        assert all(path.is_file() and not path.is_symlink() for path in files)
    else:
        with pytest.raises(BadArchive, match=result.words or None):
            unpack(tmp_path / "result.zip", target, LIMITS)
        assert list(target.parent.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"result.zip", "here"}


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == page(), "run .venv/bin/python tests/hostile/page.py"
