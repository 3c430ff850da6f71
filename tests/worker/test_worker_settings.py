"""Settings: every name that ever was, in layers, with all mistakes at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tallystick.engine.settings import BadSettings
from tallystick.poco.values import Address
from tallystick.worker import environment, legacy, settings, units
from tallystick.worker.settings import Settings, read, withdraw_secrets

PAGE = {
    "IEXEC_WORKER_NAME": "MY_WORKER_NAME",
    "IEXEC_CORE_HOST": "public-pool.iex.ec",
    "IEXEC_CORE_PORT": "18090",
    "IEXEC_WORKER_WALLET_PATH": "/iexec-wallet/wallet.json",
    "IEXEC_WORKER_WALLET_PASSWORD": "MY_PASSWORD",
}
"""The environment of the manual's `docker run`."""

BARE = {name: PAGE[name] for name in PAGE if "WALLET" in name}


def told(environment: Mapping[str, str], **options: Any) -> Settings:
    return read(None, {**PAGE, **environment}, options)


def refusal(environment: Mapping[str, str], file: Path | None = None, **options: Any) -> str:
    with pytest.raises(BadSettings) as found:
        read(file, environment, options)
    return str(found.value)


def written(folder: Path, text: str) -> Path:
    file = folder / "worker.toml"
    file.write_text(text)
    return file


# --- the manual's command -------------------------------------------------------------------


def test_the_environment_of_the_manual_is_enough():
    found = read(None, PAGE)
    config = found.config
    assert config.scheduler_url == "http://public-pool.iex.ec:18090"
    assert config.wallet == Path("/iexec-wallet/wallet.json")
    assert config.unlock_with() == "MY_PASSWORD"
    assert config.home == Path("/tmp/iexec-worker/MY_WORKER_NAME")
    assert (config.gas_price_multiplier, config.gas_price_cap) == (1.3, 22_000_000_000)
    assert (config.rpc_urls, config.pool, found.notes) == ((), None, ())
    assert found.origins["name"] == "IEXEC_WORKER_NAME"
    assert found.origins["scheduler_url"] == "IEXEC_CORE_HOST and IEXEC_CORE_PORT"
    assert found.origins["gas_price_cap"] == "default"


def test_every_value_of_the_manual_can_be_another():
    found = told(
        {
            "IEXEC_WORKER_BASE_DIR": "/srv/work",
            "IEXEC_GAS_PRICE_MULTIPLIER": "4.0",
            "IEXEC_GAS_PRICE_CAP": "31000000000",
            "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS": "https://node.example/",
            "IEXEC_WORKER_NAME": "other",
        }
    ).config
    assert found.home == Path("/srv/work/other")
    assert (found.gas_price_multiplier, found.gas_price_cap) == (4.0, 31 * 10**9)
    assert found.rpc_urls == ("https://node.example",)


def test_two_workers_of_one_base_folder_have_folders_of_their_own():
    homes = {told({"IEXEC_WORKER_NAME": name}).config.home for name in ("one", "two")}
    assert len(homes) == 2


def test_the_typing_mistake_of_the_manual_works_and_is_named():
    found = read(None, {**BARE, "EXEC_CORE_HOST": "pool.example"})
    assert found.config.scheduler_url == "http://pool.example:18090"
    assert found.notes == (
        "EXEC_CORE_HOST is taken for IEXEC_CORE_HOST, which is the right name.",
    )


# --- the scheduler's address ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        ({"HOST": "p"}, "http://p:18090"),
        ({"HOST": "p", "PROTOCOL": "http"}, "http://p:18090"),
        ({"HOST": "p", "PROTOCOL": "https"}, "https://p:18443"),
        ({"HOST": "p", "PROTOCOL": "HTTPS", "PORT": "444"}, "https://p:444"),
        ({"HOST": "p", "PORT": "18443"}, "https://p:18443"),
        ({"HOST": "p", "PORT": "13000"}, "http://p:13000"),
        ({"PORT": "13000"}, "http://localhost:13000"),
        ({"URL": "https://q:1/"}, "https://q:1"),
        ({"HOST": "p", "URL": ""}, "http://p:18090"),
        ({"HOST": "[::1]"}, "http://[::1]:18090"),
    ],
)
def test_the_address_out_of_its_parts(parts: dict[str, str], address: str):
    found = read(None, {**BARE, **{f"IEXEC_CORE_{name}": text for name, text in parts.items()}})
    assert found.config.scheduler_url == address
    assert found.notes == ()


def test_the_whole_address_wins_over_its_parts():
    found = told({"IEXEC_CORE_URL": "http://new:13000"})
    assert found.config.scheduler_url == "http://new:13000"
    assert found.notes == (
        "IEXEC_CORE_URL is used, so IEXEC_CORE_HOST and IEXEC_CORE_PORT is not looked at.",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IEXEC_CORE_PROTOCOL", "ftp"),
        ("IEXEC_CORE_HOST", "http://pool"),
        ("IEXEC_CORE_HOST", "pool:13000"),
        ("IEXEC_CORE_PORT", "0"),
        ("IEXEC_CORE_PORT", "65536"),
        ("IEXEC_CORE_PORT", "http"),
        ("IEXEC_CORE_PORT", "9" * 5000),
        ("IEXEC_CORE_URL", "pool.example"),
        ("IEXEC_CORE_URL", "http://"),
        ("IEXEC_CORE_URL", "ftp://pool"),
        ("IEXEC_CORE_URL", "http://pool:port"),
    ],
)
def test_no_address_of_a_scheduler(name: str, text: str):
    assert f"{name}: " in refusal({**PAGE, name: text})


# --- numbers, durations, names --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("0", 0),
        ("22000000000", 22 * 10**9),
        ("22gwei", 22 * 10**9),
        ("22 Gwei", 22 * 10**9),
        ("0.5gwei", 5 * 10**8),
        ("7wei", 7),
        ("0.000000022ether", 22 * 10**9),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_caps(text: str, wei: int):
    assert told({"IEXEC_GAS_PRICE_CAP": text}).config.gas_price_cap == wei


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "22.5",
        "22000000000.0",
        "2.2e10",
        "1e400",
        "9223372036854775808",
        "nan",
        "22bananas",
        "gwei",
        "-1gwei",
        "0.0000000001gwei",
        "٢٢",
        "0x10",
    ],
)
def test_no_cap(text: str):
    assert "IEXEC_GAS_PRICE_CAP: " in refusal({**PAGE, "IEXEC_GAS_PRICE_CAP": text})


@pytest.mark.parametrize("value", ["22.5", "true", '"x"', "-1", "9223372036854775808"])
def test_no_cap_in_a_file(tmp_path: Path, value: str):
    file = written(tmp_path, f"gas_price_cap = {value}\n")
    assert f"{file}: gas_price_cap: " in refusal(PAGE, file)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast"])
def test_no_multiplier(text: str):
    name = "IEXEC_GAS_PRICE_MULTIPLIER"
    assert f"{name}: " in refusal({**PAGE, name: text})


@pytest.mark.parametrize(
    ("text", "length"),
    [("PT5M", 300), ("PT1H30M", 5400), ("P1D", 86400), ("pt2.5s", 2.5), ("90", 90)],
)
def test_durations(text: str, length: float):
    names = [f"IEXEC_WORKER_DOCKER_IMAGE_{end}_PULL_TIMEOUT" for end in ("MIN", "MAX")]
    found = told(dict.fromkeys(names, text)).config
    assert (found.min_pull_time, found.max_pull_time) == (length, length)


@pytest.mark.parametrize("text", ["P", "PT", "5M", "PT-5M", "0", "PT0S", "soon", "inf"])
def test_no_durations(text: str):
    name = "IEXEC_WORKER_DOCKER_IMAGE_MAX_PULL_TIMEOUT"
    assert f"{name}: " in refusal({**PAGE, name: text})


@pytest.mark.parametrize(
    ("text", "count"), [("2GiB", 2 << 30), ("1 kB", 1000), ("1.5MiB", 3 << 19), ("512", 512)]
)
def test_sizes(text: str, count: int):
    assert told({"TALLY_MAX_MEMORY": text}).config.max_memory == count


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "2Gib2", "many"])
def test_no_sizes(text: str):
    assert "TALLY_MAX_MEMORY: " in refusal({**PAGE, "TALLY_MAX_MEMORY": text})


@pytest.mark.parametrize("name", ["<b>x", "../x", "a b", "", ".", "-x", "a" * 64, "ä"])
def test_a_name_is_a_folder_and_a_part_of_containers(name: str):
    with pytest.raises(ValueError, match="folder"):
        units.folder_name(name)


def test_slots():
    name = "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT"
    assert told({name: "3"}).config.slots == 3
    for wrong in ("0", "-2", "1.5"):
        assert f"{name}: " in refusal({**PAGE, name: wrong})
    with_gpu = told({name: "3", "IEXEC_WORKER_GPU_ENABLED": "true"})
    assert (with_gpu.config.slots, with_gpu.config.gpu) == (1, True)
    assert with_gpu.notes == (f"{name} is passed over: a worker with a GPU has one slot.",)
    assert told({"IEXEC_WORKER_GPU_ENABLED": "true"}).notes == ()


@pytest.mark.parametrize(
    ("text", "level"),
    [("TRACE", "debug"), ("Warn", "warning"), ("off", "error"), ("info",) * 2],
)
def test_levels_of_logs(text: str, level: str):
    assert told({"IEXEC_LOG_LEVEL": text}).config.log_level == level


@pytest.mark.parametrize("text", ["", "0x0", "0x" + 40 * "0"])
def test_any_pool(text: str):
    assert told({"POOL_ADDRESS": text}).config.pool is None


def test_one_pool():
    assert told({"POOL_ADDRESS": "0x" + 20 * "01"}).config.pool == Address(b"\x01" * 20)


# --- names ----------------------------------------------------------------------------------


def test_every_name_of_the_original_is_known():
    """Section 3 of the reading of the manual, and section 7.1 of the protocol."""
    known = {*legacy.NAMES, *legacy.DROPPED, *environment._PLACES, *environment.PROXIES}
    known |= {name for name in environment.names_of("registries") if "REGISTRY" in name}
    assert EVER - known == set()
    found = told({name: "1" for name in EVER & legacy.DROPPED.keys()})
    assert len(found.notes) == len(EVER & legacy.DROPPED.keys())
    assert all(" changes nothing: " in note for note in found.notes)


EVER = set(
    re.findall(
        r"\w+",
        """
IEXEC_WORKER_PORT IEXEC_CORE_PROTOCOL IEXEC_CORE_HOST IEXEC_CORE_PORT IEXEC_CORE_URL
POOL_ADDRESS IEXEC_WORKER_NAME IEXEC_WORKER_BASE_DIR IEXEC_WORKER_WALLET_PATH
IEXEC_WORKER_WALLET_PASSWORD IEXEC_GAS_PRICE_MULTIPLIER IEXEC_GAS_PRICE_CAP
IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS IEXEC_TEE_ENABLED IEXEC_WORKER_SSL_TRUSTSTORE
IEXEC_WORKER_SSL_TRUSTSTORE_PASSWORD IEXEC_WORKER_GPU_ENABLED IEXEC_DEVELOPER_LOGGER_ENABLED
IEXEC_CORE_GRAYLOG_HOST IEXEC_CORE_GRAYLOG_PORT IEXEC_DECRYPT_FILE_PATH
IEXEC_ENCRYPT_FILE_PATH IEXEC_SCONE_LAS_HOST IEXEC_SCONE_LAS_PORT IEXEC_LAS_IMAGE
IEXEC_LAS_VERSION IEXEC_LAS_PORT IEXEC_LAS_DOCKER_NETWORK_NAME
IEXEC_WORKER_DOCKER_NETWORK_NAME IEXEC_DEBUG_FORCE_TEE_DISABLED IEXEC_WORKER_SGX_DRIVER_MODE
IEXEC_HTTP_PROXY_HOST IEXEC_HTTP_PROXY_PORT IEXEC_HTTPS_PROXY_HOST IEXEC_HTTPS_PROXY_PORT
IEXEC_WORKER_TEE_COMPUTE_MAX_HEAP_SIZE_GB IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0
IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0 IEXEC_WORKER_DOCKER_REGISTRY_ADDRESS_1
IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_1 IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_1
IEXEC_SCONE_SHOW_VERSION IEXEC_SCONE_LOG_LEVEL IEXEC_WORKER_SCONTAIN_REGISTRY_NAME
IEXEC_WORKER_SCONTAIN_REGISTRY_USERNAME IEXEC_WORKER_SCONTAIN_REGISTRY_PASSWORD
IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT IEXEC_WORKER_DOCKER_IMAGE_MIN_PULL_TIMEOUT
IEXEC_WORKER_DOCKER_IMAGE_MAX_PULL_TIMEOUT IEXEC_WORKER_METRICS_WINDOW_SIZE IEXEC_LOG_LEVEL
WORKER_DOCKER_EXTRA_HOSTS
""",
    )
)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("IEXEC_GAS_PRICE_CAPS", "IEXEC_GAS_PRICE_CAP"),
        ("IEXEC_WORKER_WALET_PATH", "IEXEC_WORKER_WALLET_PATH"),
        ("TALLY_METRIC_PORT", "TALLY_METRICS_PORT"),
    ],
)
def test_a_name_that_is_nearly_right(name: str, near: str):
    (note,) = told({name: "x"}).notes
    assert note == f"{name} is no setting of a worker; the nearest that is one is {near}."


def test_a_name_like_no_other():
    (note,) = told({"IEXEC_XYZZY": "1"}).notes
    assert note == "IEXEC_XYZZY is no setting of a worker."


def test_what_is_empty_is_not_set():
    found = told({"IEXEC_GAS_PRICE_CAP": "", "IEXEC_WORKER_GPU_ENABLED": " ", "IEXEC_FOO": ""})
    assert (found.config.gas_price_cap, found.config.gpu, found.notes) == (
        22 * 10**9,
        False,
        (),
    )


# --- secrets --------------------------------------------------------------------------------


def test_registry_logins(tmp_path: Path):
    (tmp_path / "token").write_text("t0ken\n")
    prefix = "IEXEC_WORKER_DOCKER_REGISTRY_"
    found = told(
        {
            f"{prefix}USERNAME_0": "me",
            f"{prefix}PASSWORD_0": "hush",
            f"{prefix}ADDRESS_1": "quay.example",
            f"{prefix}USERNAME_1": "you",
            f"{prefix}PASSWORD_1_FILE": str(tmp_path / "token"),
        }
    ).config.registries
    assert [(each.address, each.username) for each in found] == [
        ("docker.io", "me"),
        ("quay.example", "you"),
    ]
    assert [each.password.get_secret_value() for each in found] == ["hush", "t0ken"]


@pytest.mark.parametrize(
    ("login", "named"),
    [
        ({"USERNAME_0": "me"}, "PASSWORD_0"),
        ({"PASSWORD_0": "hush"}, "USERNAME_0"),
        ({"USERNAME_1": "me", "PASSWORD_1": "hush"}, "ADDRESS_1"),
        ({"USERNAME_0": "me", "PASSWORD_0_FILE": "/nowhere"}, "PASSWORD_0_FILE"),
    ],
)
def test_half_a_login(login: dict[str, str], named: str):
    prefix = "IEXEC_WORKER_DOCKER_REGISTRY_"
    said = refusal({**PAGE, **{prefix + name: text for name, text in login.items()}})
    assert prefix + named in said
    assert "hush" not in said


def test_the_password_in_a_file(tmp_path: Path):
    (tmp_path / "password").write_text("from a file\n")
    name = "IEXEC_WORKER_WALLET_PASSWORD"
    without = {key: text for key, text in PAGE.items() if key != name}
    in_file = {**without, f"{name}_FILE": str(tmp_path / "password")}
    assert read(None, in_file).config.unlock_with() == "from a file"
    said = refusal({**PAGE, f"{name}_FILE": str(tmp_path / "password")})
    assert said == (
        f"The settings cannot be used: {name} and {name}_FILE are both set: which one opens"
        " the wallet."
    )
    credential = {**without, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / settings.CREDENTIAL).write_text("from systemd\n")
    assert read(None, credential).config.unlock_with() == "from systemd"


def test_a_password_of_a_higher_layer_counts(tmp_path: Path):
    (tmp_path / "other").write_text("other\n")
    file = written(tmp_path, f'password_file = "{tmp_path}/missing"\nbase_dir = "/b"\n')
    assert read(file, PAGE).config.unlock_with() == "MY_PASSWORD"
    options = {"password_file": str(tmp_path / "other")}
    assert read(file, PAGE, options).config.unlock_with() == "other"


def test_nothing_shows_a_secret():
    prefix = "IEXEC_WORKER_DOCKER_REGISTRY_"
    found = told({f"{prefix}USERNAME_0": "me", f"{prefix}PASSWORD_0": "hush"})
    seen = environment.given(
        {**PAGE, f"{prefix}USERNAME_0": "me", f"{prefix}PASSWORD_0": "hush"}, str
    )
    shown = repr(found) + str(found.config) + repr(seen)
    assert not re.search("MY_PASSWORD|hush", shown)


CHILD = """
import os, subprocess, sys
from tallystick.worker.settings import read, withdraw_secrets
assert read().config.unlock_with() == "MY_PASSWORD"
withdraw_secrets(os.environ)
own = open("/proc/self/environ", "rb").read()
child = subprocess.run(["cat", "/proc/self/environ"], capture_output=True).stdout
sys.stdout.buffer.write(own + b"|" + child)
"""


def test_no_child_sees_a_secret_and_neither_does_proc():
    prefix = "IEXEC_WORKER_DOCKER_REGISTRY_"
    more = {
        f"{prefix}USERNAME_0": "me",
        f"{prefix}PASSWORD_0": "hush",
        "IEXEC_WORKER_SSL_TRUSTSTORE_PASSWORD": "whatever",
    }
    given = {**os.environ, **PAGE, **more}
    ran = subprocess.run(
        [sys.executable, "-c", CHILD], env=given, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert b"MY_WORKER_NAME" in ran.stdout.partition(b"|")[2]
    assert not re.search(b"MY_PASSWORD|hush|whatever", ran.stdout)


# --- proxies --------------------------------------------------------------------------------


def test_proxies_are_called_as_clients_of_http_call_them():
    surroundings = {
        "IEXEC_HTTP_PROXY_HOST": "proxy",
        "IEXEC_HTTP_PROXY_PORT": "3128",
        "IEXEC_HTTPS_PROXY_HOST": "secure",
    }
    withdraw_secrets(surroundings)
    assert surroundings["HTTP_PROXY"] == "http://proxy:3128"
    assert surroundings["HTTPS_PROXY"] == "http://secure:443"
    assert surroundings["NO_PROXY"] == "localhost,127.0.0.1,::1"


def test_what_is_set_of_proxies_stays():
    given = {"IEXEC_HTTP_PROXY_HOST": "proxy", "http_proxy": "http://mine:1", "NO_PROXY": "x"}
    assert environment.proxies(given) == {}
    assert environment.proxies({}) == {}


def test_half_a_proxy():
    assert "there is no IEXEC_HTTP_PROXY_HOST" in refusal(
        {**PAGE, "IEXEC_HTTP_PROXY_PORT": "3128"}
    )


# --- layers and mistakes --------------------------------------------------------------------


def test_a_later_layer_counts_for_more(tmp_path: Path):
    file = written(tmp_path, 'base_dir = "/b"\nname = "file"\nslots = 7\nmax_pids = 9\n')
    found = read(file, {**PAGE, "TALLY_SLOTS": "8"}, {"slots": "9", "name": None})
    config, origins = found.config, found.origins
    assert (config.max_pids, origins["max_pids"]) == (9, f"{file}: max_pids")
    assert (config.name, origins["name"]) == ("MY_WORKER_NAME", "IEXEC_WORKER_NAME")
    assert (config.slots, origins["slots"]) == (9, "--slots")
    assert (config.max_cpus, origins["max_cpus"]) == (1.0, "default")
    assert config.file == file
    assert not found.notes


def test_two_names_for_one_thing():
    found = told({"TALLY_NAME": "ours"})
    assert found.config.name == "ours"
    assert found.notes == ("IEXEC_WORKER_NAME is passed over: TALLY_NAME is set as well.",)


def test_every_mistake_of_every_layer_is_told_at_once(tmp_path: Path):
    file = written(tmp_path, 'slot = 1\nmax_cpus = []\n[network]\nreech = "full"\n')
    said = refusal(
        {"IEXEC_GAS_PRICE_CAP": "cheap", "IEXEC_CORE_HOST": "a/b"}, file, chain_id="mainnet"
    )
    assert "for 9 reasons" in said
    for place in (
        f"{file}: slot is no setting; the nearest that is one is slots.",
        f"{file}: max_cpus: ",
        f"{file}: network.reech: ",
        "IEXEC_GAS_PRICE_CAP: ",
        "IEXEC_CORE_HOST: ",
        "--chain-id: ",
        "wallet is not set: IEXEC_WORKER_WALLET_PATH, --wallet, or wallet in a settings file;"
        " there is no default wallet.",
        "base_dir is not set: ",
        "the wallet's password is not set: IEXEC_WORKER_WALLET_PASSWORD_FILE",
    ):
        assert place in said


def test_a_file_says_where_its_worker_works(tmp_path: Path):
    assert "base_dir is not set" in refusal(PAGE, written(tmp_path, ""))


@pytest.mark.parametrize(
    "contradiction",
    [
        'min_pull_time = "PT2H"',
        'reveal_cap = "1gwei"',
        f'hub = "0x{20 * "01"}"\ntrust_hub = "0x{20 * "02"}"',
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, contradiction: str):
    file = written(tmp_path, f'base_dir = "/b"\n{contradiction}\n')
    assert str(file) in refusal(PAGE, file)


def test_a_file_that_is_no_settings_file(tmp_path: Path):
    assert "is not TOML" in refusal(PAGE, written(tmp_path, "a ="))
    assert "cannot be read" in refusal(PAGE, tmp_path / "missing.toml")
    # What it would say is not said to be missing as well.
    assert "is not set" not in refusal({}, tmp_path / "missing.toml")
    assert "file is no setting" in refusal(PAGE, written(tmp_path, 'file = "x"\n'))


def test_a_password_that_somebody_will_type():
    without = {k: v for k, v in PAGE.items() if k != "IEXEC_WORKER_WALLET_PASSWORD"}
    assert "the wallet's password is not set" in refusal(without)
    found = read(None, without, password_later=True).config
    assert settings.with_password(found, "typed").unlock_with() == "typed"


def test_a_mistyped_name_is_told_with_what_is_missing_for_it():
    said = refusal({"IEXEC_CORE_HOST": "pool", "IEXEC_WORKER_WALET_PATH": "/w.json"})
    assert "wallet is not set" in said
    assert "IEXEC_WORKER_WALET_PATH" in said
