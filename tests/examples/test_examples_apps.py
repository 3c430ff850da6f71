"""What the example apps compute: real results, the same on every run, worth looking at."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from examples_lab import SOURCES, Run, assemble, run

from tallystick.examples.catalogue import EXAMPLES
from tallystick.examples.packages import PackageUnavailable
from tallystick.storage.archive import digest_of, zip_output

TEXT = "The quick brown fox jumps over the lazy dog. The dog sleeps.\n" * 3


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All examples, with their data."""
    folder = tmp_path_factory.mktemp("apps")
    try:
        return {name: assemble(name, folder / name) for name in EXAMPLES}
    except PackageUnavailable as trouble:
        pytest.skip(str(trouble))


def once(programs: dict[str, Path], name: str, folder: Path, **env: str) -> Run:
    inputs = folder.with_name("inputs")
    inputs.mkdir(exist_ok=True)
    (inputs / "0xabc").write_text(TEXT)
    given = {"IEXEC_INPUT_FILES_NUMBER": "1", "IEXEC_INPUT_FILE_NAME_1": "0xabc", **env}
    args = EXAMPLES[name].default_args.split()
    return run(programs[name], folder, *args, inputs=inputs, **given)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_run_gives_the_same_result(
    programs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    runs = [
        once(programs, name, tmp_path / seed, PYTHONHASHSEED=seed, LANG=lang)
        for seed, lang in (("1", "C"), ("2", "C.UTF-8"))
    ]
    assert [r.code for r in runs] == [0, 0], runs[0].complained
    assert len({digest_of(r.out) for r in runs}) == 1
    for number, each in enumerate(runs):
        zip_output(each.out, tmp_path / f"{number}.zip")
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_there_is_a_picture_to_look_at(
    programs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    done = once(programs, name, tmp_path / "out")
    picture = ET.parse(done.out / EXAMPLES[name].show).getroot()
    assert picture.tag.endswith("svg")
    assert len(list(picture.iter())) > 20
    assert done.said.strip()


def test_digits_reads_nearly_all(programs: dict[str, Path], tmp_path: Path) -> None:
    rights = []
    for fold in range(5):
        done = once(programs, "digits", tmp_path / str(fold), IEXEC_BOT_TASK_INDEX=str(fold))
        rights.append(json.loads((done.out / "digits" / "digits.json").read_text())["right"])
    assert rights[0] == 354
    assert sum(rights) > 0.98 * 1797


@pytest.mark.parametrize("words", [["--neighbours", "0"], ["--neighbours", "x"], ["x"]])
def test_digits_refuses_nonsense(
    programs: dict[str, Path], tmp_path: Path, words: list[str]
) -> None:
    assert run(programs["digits"], tmp_path / "o", *words).code == 2


def test_corpus_finds_the_chapter(programs: dict[str, Path], tmp_path: Path) -> None:
    done = run(programs["corpus"], tmp_path / "o", "assignment")
    hits = (done.out / "corpus" / "hits.txt").read_text()
    assert "  assignment\n" in "\n".join(hits.splitlines()[:9]) + "\n"
    index = json.loads((done.out / "corpus" / "index.json").read_text())
    assert index["assignment"]["assignment"] > 3


def test_corpus_survives_words_it_does_not_know(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    assert run(programs["corpus"], tmp_path / "o", "xyzzy", "<&>").code == 0


def test_words_counts_dataset_and_inputs_together(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    dataset = "0x" + "12" * 20
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / dataset).write_text("apples <b>apples</b> pears\n")
    (tmp_path / "in" / "0xff").write_bytes("Äpfel pears\xff".encode("latin-1"))
    done = run(
        programs["words"],
        tmp_path / "o",
        inputs=tmp_path / "in",
        IEXEC_DATASET_FILENAME=dataset,
        IEXEC_INPUT_FILES_NUMBER="1",
        IEXEC_INPUT_FILE_NAME_1="0xff",
    )
    figures = json.loads((done.out / "words" / "words.json").read_text())
    assert figures["top"] == {"apples": 2, "pears": 2, "pfel": 1}
    assert figures["files"] == 2


def test_words_without_input_says_what_it_needs(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    nothing = run(programs["words"], tmp_path / "o", IEXEC_DATASET_FILENAME="0x" + "0" * 40)
    assert nothing.code == 1
    assert "give the task a dataset" in nothing.complained


def test_mischief_does_what_it_is_told(tmp_path: Path) -> None:
    program = SOURCES / "mischief" / "main.py"

    def deed(*words: str) -> Run:
        return run(program, tmp_path / "-".join(words), *words)

    assert deed("ok", "fine").said == "fine\n"
    assert deed("fail", "7").code == 7
    assert not list(deed("silent").out.iterdir())
    assert (deed("fill", "3M").out / "filler.bin").stat().st_size == 3 << 20
    sparse = (deed("sparse", "10G").out / "sparse.bin").stat()
    assert (sparse.st_size, sparse.st_blocks) == (10 << 30, 0)
    assert os.readlink(deed("links").out / "passwd") == "/etc/passwd"
    assert len(list(deed("many", "20").out.iterdir())) == 22
    assert len(deed("shout", "10K").said) == 10 << 10
    assert deed("memory", "5M").said == f"took {5 << 20} bytes\n"
    assert deed("nonsense").code == 1
