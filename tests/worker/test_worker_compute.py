"""From an app's outcome to a result, a failure, or a failure that is a result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from worker_lab import DEAL, ME, TASK, settings, task_of

from tallystick.engine.errors import NoRoom
from tallystick.engine.journal import Journal
from tallystick.execution.executor import Ended, ImageRef, Job, Outcome
from tallystick.execution.network import NetworkPolicy, Reach
from tallystick.lifecycle.facts import Computed, Fact, Failed, Step
from tallystick.poco.deal import Asset
from tallystick.poco.params import DealParams
from tallystick.poco.values import Address, Digest
from tallystick.worker.compute import Computer, environment, input_name
from tallystick.worker.decisions import Decisions
from tallystick.worker.folder import TaskFolder
from tallystick.worker.networks import Networks, network_of, sentences

IMAGE = ImageRef("registry.test", "app", "1")
A_RESULT = Digest("d885f429a59e0816822fc0927be6a6af20ade2c79db49df6c6022f79cb27ac16")

pytestmark = pytest.mark.anyio


def outcome(code: int | None = 0, ended: Ended = Ended.EXITED, **said: bytes) -> Outcome:
    streams = {"stdout": b"", "stderr": b""} | said
    return Outcome(exit_code=code, ended=ended, seconds=1.0, **streams)


class Runs:
    """An executor that leaves what an app would have left."""

    def __init__(self, end: Outcome, **files: str) -> None:
        self.end, self.files, self.jobs = end, files, list[Job]()

    async def run(self, job: Job) -> Outcome:
        self.jobs.append(job)
        job.output_dir.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (job.output_dir / name.replace("_", ".")).write_text(text)
        return self.end


RESULT = {
    "result_txt": "A result",
    "computed_json": '{"deterministic-output-path": "/iexec_out/result.txt"}',
}


def computer(base: Path, runs: Any, **more: Any) -> Computer:
    return Computer(ME, settings(base, **more), runs)


def folder(base: Path) -> TaskFolder:
    return TaskFolder(settings(base).home, TASK)


def test_the_environment_of_a_standard_app():
    dataset = Address(b"\xda" * 20)
    deal = replace(DEAL, dataset=Asset(dataset, ME, 0), bot_first=2, bot_size=5)
    task = replace(task_of(), deal=deal, index=3)
    urls = ("https://example.org/a.txt", "https://example.org/b.txt")
    assert environment(task, DealParams(input_files=urls)) == {
        "IEXEC_DEAL_ID": str(DEAL.id),
        "IEXEC_TASK_INDEX": "3",
        "IEXEC_TASK_ID": str(TASK),
        "IEXEC_IN": "/iexec_in",
        "IEXEC_OUT": "/iexec_out",
        "IEXEC_BOT_SIZE": "5",
        "IEXEC_BOT_FIRST_INDEX": "2",
        "IEXEC_BOT_TASK_INDEX": "3",
        "IEXEC_DATASET_ADDRESS": str(dataset),
        "IEXEC_DATASET_FILENAME": str(dataset),
        "IEXEC_INPUT_FILES_NUMBER": "2",
        "IEXEC_INPUT_FILES_FOLDER": "/iexec_in",
        "IEXEC_INPUT_FILE_NAME_1": (
            "0x3a1d3c5d32024690dd8878ef6701762cf7d59343d17dc5051bbd721fc76ecc27"
        ),
        "IEXEC_INPUT_FILE_NAME_2": input_name(urls[1]),
    }
    bare = environment(task_of(), DealParams())
    assert bare["IEXEC_DATASET_ADDRESS"] == "0x" + "00" * 20
    assert bare["IEXEC_INPUT_FILES_NUMBER"] == "0"
    assert "IEXEC_INPUT_FILES_FOLDER" not in bare


async def test_a_result_is_computed_once(tmp_path: Path):
    runs = Runs(outcome(stdout=b"hello \xff", stderr=b"careful"), **RESULT)
    work = computer(tmp_path, runs)
    params = DealParams(args="--x='a b'c 2")
    first = await work.compute(task_of(), IMAGE, params)
    assert first == Computed(ME, A_RESULT, 0)
    (job,) = runs.jobs
    assert job.args == ("--x=a bc", "2")
    assert (job.limits.time, job.limits.disk) == (DEAL.time_unit, 4 << 20)
    here = folder(tmp_path)
    assert (here.output / "stdout.txt").read_bytes() == "hello \ufffd".encode()
    assert (here.output / "stderr.txt").read_bytes() == b"careful"
    logs = here.logs()
    assert logs is not None
    assert (logs.stdout, logs.stderr) == ("hello \ufffd", "careful")
    assert here.zip.exists()
    again = await work.compute(task_of(), IMAGE, params)
    assert again == first
    assert len(runs.jobs) == 1, "a crash after this costs no second run"
    here.zip.unlink()
    assert await work.compute(task_of(), IMAGE, params) == first
    assert len(runs.jobs) == 2, "half a result is none"


async def test_what_was_printed_is_written_over_what_the_app_calls_stdout(tmp_path: Path):
    """As by v9 workers: the digest of the whole folder has to be the same."""
    runs = Runs(outcome(stdout=b"printed"), **RESULT, stdout_txt="written", stderr_txt="mine")
    await computer(tmp_path, runs).compute(task_of(), IMAGE, DealParams())
    assert (folder(tmp_path).output / "stdout.txt").read_text() == "printed"
    assert (folder(tmp_path).output / "stderr.txt").read_text() == "mine", "nothing was printed"


@pytest.mark.parametrize("printed", ["link", "folder"])
async def test_what_was_printed_goes_nowhere_else(tmp_path: Path, printed: str):
    """A link of the app leads nowhere, and a folder of it stays."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")

    class Sly(Runs):
        async def run(self, job: Job) -> Outcome:
            end = await super().run(job)
            here = job.output_dir / "stdout.txt"
            here.symlink_to(victim) if printed == "link" else here.mkdir()
            return end

    runs = Sly(outcome(stdout=b"printed"), **RESULT)
    assert await computer(tmp_path, runs).compute(task_of(), IMAGE, DealParams()) == Computed(
        ME, A_RESULT, 0
    )
    here = folder(tmp_path).output / "stdout.txt"
    assert victim.read_text() == "untouched"
    assert here.is_dir() if printed == "folder" else here.read_text() == "printed"


async def test_an_app_that_fails_with_a_result_is_voted_on(tmp_path: Path):
    runs = Runs(outcome(3, stdout=b"printed"), **RESULT)
    fact = await computer(tmp_path, runs).compute(task_of(), IMAGE, DealParams())
    assert fact == Computed(ME, A_RESULT, 3)
    assert not (folder(tmp_path).output / "stdout.txt").exists()


TOO_LONG = {"x" * 40: "", **RESULT}
NO_PATH = {"computed_json": "{}"}
NOT_FOUND, NO_DIGEST = (
    "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND",
    "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED",
)


@pytest.mark.parametrize(
    ("end", "files", "cause", "sentence"),
    [
        (outcome(), {}, NOT_FOUND, "ended with exit code 0"),
        (outcome(), NO_PATH, NO_DIGEST, "no deterministic-output-path"),
        (outcome(), {"computed_json": "["}, NOT_FOUND, "not JSON"),
        (outcome(), TOO_LONG, "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME", "31 characters"),
        (outcome(3), {}, "APP_COMPUTE_FAILED", "ended with exit code 3"),
        (outcome(None, Ended.TIMED_OUT), {}, "APP_COMPUTE_TIMEOUT", "stopped after 1 s"),
        (outcome(None, Ended.OUT_OF_MEMORY), {}, "APP_COMPUTE_FAILED", "more memory"),
        (outcome(None, Ended.DISK_FULL), {}, "APP_COMPUTE_FAILED", "more to /iexec_out"),
        (outcome(None, Ended.KILLED), {}, "APP_COMPUTE_FAILED", "was killed"),
    ],
)
async def test_an_app_without_a_result_fails(
    tmp_path: Path, end: Outcome, files: Any, cause: str, sentence: str
):
    fact = await computer(tmp_path, Runs(end, **files)).compute(task_of(), IMAGE, DealParams())
    assert fact == Failed(ME, Step.COMPUTE, cause)
    logs = folder(tmp_path).logs()
    assert logs is not None
    assert sentence in logs.stderr
    assert folder(tmp_path).kept() is None


@pytest.mark.parametrize("args", ["a\0b", "x" * 200_000, "y " * 600_000])
async def test_arguments_that_no_program_can_be_given(tmp_path: Path, args: str):
    runs = Runs(outcome(), **RESULT)
    fact = await computer(tmp_path, runs).compute(task_of(), IMAGE, DealParams(args=args))
    assert fact == Failed(ME, Step.COMPUTE, "APP_COMPUTE_FAILED")
    assert runs.jobs == []
    assert "cannot be started" in str(folder(tmp_path).logs())


async def test_only_the_end_of_what_is_printed_is_told(tmp_path: Path):
    runs = Runs(outcome(stdout=("a" * 200_000 + "é").encode()), **RESULT)
    await computer(tmp_path, runs).compute(task_of(), IMAGE, DealParams())
    logs = folder(tmp_path).logs()
    assert logs is not None
    assert len(logs.stdout) == 100_000
    assert logs.stdout.endswith("é")


async def test_a_callback_is_what_is_voted_on(tmp_path: Path):
    data = "0x" + "00" * 31 + "01"
    said = json.dumps({"callback-data": data})
    task = task_of(deal=replace(DEAL, callback=Address(b"\xca" * 20)))
    fact = await computer(tmp_path, Runs(outcome(), computed_json=said)).compute(
        task, IMAGE, DealParams()
    )
    digest = Digest("b10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6")
    assert fact == Computed(ME, digest, 0)


async def test_a_failed_download_is_a_result_like_any_other(tmp_path: Path):
    work = computer(tmp_path, None)
    fact = await work.explain_failure(task_of(), Step.FETCH_APP, "APP_IMAGE_DOWNLOAD_FAILED")
    digest = Digest("6b234cc858ad3404f912dd7f119afe2178251bec64cb25e5cbeba61dd764fc5d")
    assert fact == Failed(ME, Step.FETCH_APP, "APP_IMAGE_DOWNLOAD_FAILED", digest)
    assert folder(tmp_path).zip.exists()


def test_a_folder_that_was_written_half_is_not_believed(tmp_path: Path):
    here = folder(tmp_path)
    here.make()
    here.keep(A_RESULT, 7)
    assert here.kept() == (A_RESULT, 7)
    for broken in ("", "{", '{"digest": "0x12"}', '{"exit_code": 1}'):
        (here.root / "computed.json").write_text(broken)
        assert here.kept() is None
    (here.root / "logs.json").write_text("{")
    assert here.logs() is None
    here.remove()
    assert (here.kept(), here.logs()) == (None, None)


async def test_a_job_that_was_denied_something_is_not_voted_on_by_several(tmp_path):
    denied = replace(outcome(), denied=("the network, which it tried to reach once",))
    runs = Runs(denied, **RESULT)
    task = replace(task_of(), deal=replace(DEAL, trust=3))
    fact = await computer(tmp_path, runs).compute(task, IMAGE, DealParams())
    assert fact == Failed(ME, Step.COMPUTE, "APP_COMPUTE_FAILED")
    assert runs.jobs[0].note_denials
    stderr = folder(tmp_path).logs().stderr
    assert "denied the app the network" in stderr
    assert "app_networks" in stderr
    assert folder(tmp_path).kept() is None


async def test_at_trust_one_the_operator_is_told_and_the_result_stands(tmp_path):
    denied = replace(outcome(), denied=("the network, which it tried to reach once",))
    runs = Runs(denied, **RESULT)
    task = replace(task_of(), deal=replace(DEAL, trust=1))
    worker = replace(computer(tmp_path, runs), networks=Networks(settings(tmp_path), runs))
    journal = Journal(tmp_path / "journal.db", get_args(Fact))
    worker.networks.decisions = Decisions(journal)
    fact = await worker.compute(task, IMAGE, DealParams())
    assert fact == Computed(ME, A_RESULT, 0)
    assert not runs.jobs[0].note_denials
    said = worker.networks.decisions.about(TASK)
    assert said.kind == "denied"
    assert "its result stands" in said.reason.sentence
    journal.close()


@pytest.mark.parametrize(
    "said",
    [
        {"stderr": b"touch: /opt/x: Read-only file system\n"},
        {"stdout": b"OSError: [Errno 30] /opt/x\n"},
    ],
)
@pytest.mark.parametrize("trust", [1, 3])
async def test_an_app_that_complains_of_its_read_only_root(tmp_path, said: Any, trust: int):
    """The kernel tells nobody, so the app's own last words count."""
    runs = Runs(outcome(**said), **RESULT)
    task = replace(task_of(), deal=replace(DEAL, trust=trust))
    worker = replace(computer(tmp_path, runs), networks=Networks(settings(tmp_path), runs))
    journal = Journal(tmp_path / "journal.db", get_args(Fact))
    worker.networks.decisions = Decisions(journal)
    fact = await worker.compute(task, IMAGE, DealParams())
    noted = worker.networks.decisions.about(TASK)
    journal.close()
    assert "the root file system is read-only" in noted.reason.sentence
    assert "network" not in noted.reason.sentence, "that would not help"
    logs = folder(tmp_path).logs()
    if trust == 1:
        assert (fact, noted.kind) == (Computed(ME, A_RESULT, 0), "denied")
        assert "tallystick" not in logs.stderr
    else:
        assert (fact, noted.kind) == (Failed(ME, Step.COMPUTE, "APP_COMPUTE_FAILED"), "failed")
        assert "the root file system is read-only" in logs.stderr
        assert folder(tmp_path).kept() is None


async def test_only_the_last_words_of_an_app_are_taken_for_a_complaint(tmp_path):
    said = b"Read-only file system" + b"x" * 100_000
    task = replace(task_of(), deal=replace(DEAL, trust=3))
    runs = Runs(outcome(stdout=said), **RESULT)
    fact = await computer(tmp_path, runs).compute(task, IMAGE, DealParams())
    assert isinstance(fact, Computed)


async def test_a_full_machine_is_not_the_apps_failure(tmp_path, monkeypatch):
    """But an app that filled its own /iexec_out is."""
    monkeypatch.setattr("tallystick.worker.compute.free_disk", lambda folder: 0)
    for end in (outcome(1), outcome(0)):
        work = computer(tmp_path, Runs(end, **RESULT))
        with pytest.raises(NoRoom):
            await work.compute(task_of(), IMAGE, DealParams())
        assert not folder(tmp_path).output.exists()
    own = computer(tmp_path, Runs(outcome(None, Ended.DISK_FULL)))
    fact = await own.compute(task_of(), IMAGE, DealParams())
    assert fact == Failed(ME, Step.COMPUTE, "APP_COMPUTE_FAILED")


def test_an_app_gets_its_own_network_else_that_of_all(tmp_path):
    app, other = Address(b"\x0a" * 20), Address(b"\x0b" * 20)
    listed = NetworkPolicy(Reach.ALLOW_LIST, ("example.org:443",))
    config = settings(tmp_path, app_networks={app: listed}, private_downloads=False)
    assert network_of(config, app) == listed
    assert network_of(config, other) == NetworkPolicy()
    local = replace(config, private_downloads=True)
    assert network_of(local, app) == replace(listed, private=True)


async def test_a_network_that_cannot_be_given_speaks_against_the_task(tmp_path, caplog):
    class Poor:
        def network_refused(self, policy: NetworkPolicy) -> str | None:
            return "there is no way" if policy.reach is Reach.FULL else None

    full = settings(tmp_path, network=NetworkPolicy(Reach.FULL))
    reason = await Networks(full, Poor()).objection(task_of())
    assert reason.code == "NETWORK_IMPOSSIBLE"
    assert "the public internet" in reason.sentence
    assert "there is no way" in reason.sentence
    assert "tasks are declined" in next(sentences(full, Poor()))
    listed = NetworkPolicy(Reach.ALLOW_LIST, ("example.org:443",))
    with caplog.at_level("INFO"):
        some = Networks(settings(tmp_path, network=listed), Poor())
        assert await some.objection(task_of()) is None
    assert "gets a proxy that leads to example.org:443, and nothing else" in caplog.text
