"""What the settings say of images reaches the executor."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from tallystick.execution.embedded import Embedded
from tallystick.execution.executor import RuntimeUnfit
from tallystick.worker.config import RegistryLogin, WorkerConfig
from tallystick.worker.runtime import open_executor

pytestmark = pytest.mark.anyio


async def test_rules_and_logins_of_the_settings_are_the_executors(tmp_path: Path) -> None:
    login = RegistryLogin(
        address="https://index.docker.io/v1/", username="me", password=SecretStr("s3cret")
    )
    config = WorkerConfig(
        scheduler_url="http://127.0.0.1:1",
        wallet=tmp_path / "wallet.json",
        base_dir=tmp_path,
        executor="bubblewrap",
        pull_policy="never",
        max_image=1_000,
        max_image_cache=2_000,
        registries=(login,),
    )
    async with AsyncExitStack() as stack:
        try:
            executor = await open_executor(config, stack)
        except RuntimeUnfit as unfit:
            pytest.skip(str(unfit))
        assert isinstance(executor, Embedded)
        images = executor.images
        assert (images.policy, images.sizes.download, images.sizes.keep) == (
            "never",
            1_000,
            2_000,
        )
        assert images.credentials == {"docker.io": ("me", "s3cret")}
        assert "s3cret" not in repr(config) + repr(executor)
