"""Running a task's app and turning what it leaves into a result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from anyio import to_thread

from tallystick.engine.errors import NoRoom
from tallystick.execution.executor import Ended, Executor, ImageRef, Job, Limits, Outcome
from tallystick.lifecycle.facts import Computed, Failed, Step
from tallystick.lifecycle.task import Task
from tallystick.poco.params import DealParams, tokenize
from tallystick.poco.values import ZERO_ADDRESS, Address, Digest
from tallystick.storage.archive import ResultLimits, digest_of, write_error_result, zip_output
from tallystick.storage.digest import BadOutput
from tallystick.worker.config import WorkerConfig
from tallystick.worker.folder import LOG_LIMIT, TaskFolder, input_name
from tallystick.worker.machine import free_disk
from tallystick.worker.networks import Networks, complained, failing, network_of, told

_FAILED = "APP_COMPUTE_FAILED"
_TIMED_OUT = "APP_COMPUTE_TIMEOUT"


_CRAMPED = 64 << 10
"""Bytes; with less left on the machine's disk, an app could not write what it wanted."""
_POINTER = 9
"""Bytes that an argument takes beside its text: its end, and where it is."""
_LONGEST_ARGUMENT = 128 << 10
_LONGEST_ARGUMENTS = 1 << 20
"""Bytes that the kernel lets a program be started with; the rest is for the environment."""


def environment(task: Task, params: DealParams) -> dict[str, str]:
    """What a standard app finds in its environment (wire protocol of v9, standard app)."""
    deal = task.deal
    dataset = str(deal.dataset.pointer)
    known = {
        "IEXEC_DEAL_ID": str(deal.id),
        "IEXEC_TASK_INDEX": str(task.index),
        "IEXEC_TASK_ID": str(task.id),
        "IEXEC_IN": "/iexec_in",
        "IEXEC_OUT": "/iexec_out",
        "IEXEC_BOT_SIZE": str(deal.bot_size),
        "IEXEC_BOT_FIRST_INDEX": str(deal.bot_first),
        "IEXEC_BOT_TASK_INDEX": str(task.index),
        "IEXEC_DATASET_ADDRESS": dataset,
        "IEXEC_DATASET_FILENAME": dataset,
        "IEXEC_INPUT_FILES_NUMBER": str(len(params.input_files)),
    }
    if params.input_files:
        known["IEXEC_INPUT_FILES_FOLDER"] = "/iexec_in"
    for number, url in enumerate(params.input_files, 1):
        known[f"IEXEC_INPUT_FILE_NAME_{number}"] = input_name(url)
    return known


@dataclass(frozen=True, slots=True)
class Computer:
    """Runs apps for one worker."""

    me: Address
    config: WorkerConfig
    executor: Executor
    networks: Networks | None = None
    """Is told what apps were denied."""

    async def compute(
        self, task: Task, image: ImageRef, params: DealParams
    ) -> Computed | Failed:
        """The result of the task: the one that a crash left complete, or a new one."""
        folder = TaskFolder(self.config.home, task.id)
        if (kept := folder.kept()) is not None and folder.zip.exists():
            return Computed(self.me, *kept)
        await to_thread.run_sync(folder.clear_output)
        if problem := _unspeakable(tokenize(params.args)):
            folder.write_logs("", f"[tallystick] The app cannot be started: {problem}.")
            return Failed(self.me, Step.COMPUTE, _FAILED)
        outcome = await self.executor.run(self._job(task, image, params, folder))
        outcome = replace(outcome, denied=_denied(outcome))
        if self.networks:
            self.networks.note(task, outcome.denied)
        return await to_thread.run_sync(self._conclude, task, folder, outcome)

    async def explain_failure(self, task: Task, step: Step, cause: str) -> Failed:
        """A failure that every honest worker meets alike is itself a result, to be voted on."""
        folder = TaskFolder(self.config.home, task.id)
        digest = await to_thread.run_sync(self._error_result, folder, step, cause)
        return Failed(self.me, step, cause, digest)

    def _job(self, task: Task, image: ImageRef, params: DealParams, folder: TaskFolder) -> Job:
        config = self.config
        limits = Limits(
            time=min(config.max_time or task.deal.time_unit, task.deal.time_unit),
            memory=config.max_memory,
            cpus=config.max_cpus,
            pids=config.max_pids,
            disk=config.max_result,
        )
        return Job(
            name=f"{config.name}-{task.id}",
            image=image,
            args=tokenize(params.args),
            env=environment(task, params),
            input_dir=folder.input,
            output_dir=folder.output,
            limits=limits,
            network=network_of(config, task.deal.app.pointer),
            note_denials=task.deal.trust > 1,
        )

    def _conclude(self, task: Task, folder: TaskFolder, outcome: Outcome) -> Computed | Failed:
        """An app that failed may still have left a result: what it left decides."""
        self._require_room(folder, outcome)
        stdout = outcome.stdout.decode(errors="replace")
        stderr = outcome.stderr.decode(errors="replace")
        if failing(task, outcome.denied):
            verdict = f"[tallystick] {told(task, outcome.denied)}"
            folder.write_logs(stdout, f"{stderr}\n{verdict}".lstrip())
            return Failed(self.me, Step.COMPUTE, _FAILED)
        if outcome.succeeded:
            _leave(folder, "stdout.txt", stdout)
            _leave(folder, "stderr.txt", stderr)
        try:
            digest = self._result(task, folder)
        except BadOutput as problem:
            verdict = f"[tallystick] The app {_how(outcome, self.config.max_result)}."
            if outcome.ended is not Ended.DISK_FULL:  # of that, nothing is left to look at
                verdict += f" {problem}"
            folder.write_logs(stdout, f"{stderr}\n{verdict}".lstrip())
            return Failed(self.me, Step.COMPUTE, _cause(outcome, problem))
        folder.write_logs(stdout, stderr)
        folder.keep(digest, outcome.exit_code)
        return Computed(self.me, digest, outcome.exit_code)

    def _require_room(self, folder: TaskFolder, outcome: Outcome) -> None:
        """An app that met a full disk of this machine, and not its own limit, has not failed,
        and what it left is not to be believed. Raises NoRoom, with its output removed."""
        left = min(free_disk(folder.root), free_disk(self.config.images))
        if outcome.ended is not Ended.DISK_FULL and left < _CRAMPED:
            folder.clear_output()
            raise NoRoom("This machine's disk ran full while the app worked.")

    def _result(self, task: Task, folder: TaskFolder) -> Digest:
        callback = task.deal.callback != ZERO_ADDRESS
        zip_output(folder.output, folder.zip, ResultLimits(max_bytes=self.config.max_result))
        return digest_of(folder.output, callback=callback)

    def _error_result(self, folder: TaskFolder, step: Step, cause: str) -> Digest:
        names = {Step.FETCH_APP: "APP_DOWNLOAD_FAILED", Step.FETCH_DATA: "DATA_DOWNLOAD_FAILED"}
        folder.clear_output()
        write_error_result(folder.output, names[step], cause)
        zip_output(folder.output, folder.zip)
        digest = digest_of(folder.output)
        folder.keep(digest, None)
        return digest


def _unspeakable(args: tuple[str, ...]) -> str:
    """Why no program can be given these arguments; empty when it can. They are a stranger's."""
    sizes = [len(each.encode()) + _POINTER for each in args]
    if any("\0" in each for each in args):
        return "its arguments hold a zero byte"
    if max(sizes, default=0) > _LONGEST_ARGUMENT or sum(sizes) > _LONGEST_ARGUMENTS:
        return "its arguments are too long"
    return ""


def _denied(outcome: Outcome) -> tuple[str, ...]:
    """What the sandbox noticed, and what the app itself complains of in its last words."""
    words = (
        each.decode(errors="replace")[-LOG_LIMIT:] for each in (outcome.stdout, outcome.stderr)
    )
    return outcome.denied + complained(*words)


def _leave(folder: TaskFolder, name: str, text: str) -> None:
    """What the app printed is part of its result, also where the app wrote a file of that name:
    v9 workers write over it, and the digest of a folder has to be the same. No link of the app
    is followed."""
    path = folder.output / name
    if text and not (path.is_dir() and not path.is_symlink()):
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def _how(outcome: Outcome, disk: int) -> str:
    match outcome.ended:
        case Ended.EXITED:
            return f"ended with exit code {outcome.exit_code}"
        case Ended.TIMED_OUT:
            return f"was stopped after {outcome.seconds:.0f} s, its limit"
        case Ended.OUT_OF_MEMORY:
            return "needed more memory than it may have"
        case Ended.DISK_FULL:
            return f"wrote more to /iexec_out than the {disk >> 20:,} MiB it may"
        case Ended.KILLED:
            return "was killed"


def _cause(outcome: Outcome, problem: BadOutput) -> str:
    if outcome.ended is Ended.TIMED_OUT:
        return _TIMED_OUT
    return problem.cause if outcome.succeeded else _FAILED
