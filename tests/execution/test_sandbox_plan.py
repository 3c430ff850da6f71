"""The pure half: what is asked of a runtime, before there is one."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.execution import container, oci, seccomp
from tallystick.execution.bubblewrap import arguments
from tallystick.execution.cgroups import Cgroup, Hierarchies, leftovers
from tallystick.execution.engine_api import _Frames
from tallystick.execution.executor import ImageRef, ImageUnavailable, Job, Limits, RuntimeUnfit
from tallystick.execution.process import Tail
from tallystick.execution.sandbox import (
    Identity,
    ImageConfig,
    Sandbox,
    is_vacant,
    prepare,
    read_config,
    resolve_user,
)

MIB = 1 << 20
PASSWD = (
    "root:x:0:0:r:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken\n7:x:8:9::/seven:/x"
)
GROUP = "root:x:0:\nwheel:x:10:app,root\nvideo:x:44:app\nodd:x:nan:app\n"
LIMITS = Limits(time=9, memory=64 * MIB, cpus=0.5, pids=9, disk=8 * MIB)


def plan(image: ImageConfig, *, args=("x",), env=None, home="/root", vacant=True) -> Sandbox:
    job = Job(
        name="j",
        image=ImageRef("r", "i", "1"),
        args=args,
        env=env or {},
        input_dir=Path("/in"),
        output_dir=Path("/out"),
        limits=LIMITS,
    )
    return prepare(job, image, Identity(0, 0, (), home), home_vacant=vacant)


@pytest.mark.parametrize(
    ("user", "means"),
    [
        ("", Identity(0, 0, (10,), "/root")),
        ("app", Identity(1000, 1001, (10, 44), "/home/app")),
        ("1000", Identity(1000, 1001, (10, 44), "/home/app")),
        ("app:video", Identity(1000, 44, (), "/home/app")),
        ("4242", Identity(4242, 0, (), "/")),
        ("4242:17", Identity(4242, 17, (), "/")),
        ("7", Identity(8, 9, (), "/seven")),
    ],
)
def test_the_user_is_looked_up_as_docker_does(user: str, means: Identity) -> None:
    assert resolve_user(user, PASSWD, GROUP) == means


@pytest.mark.parametrize("user", ["nobody", "app:none", "-1", "70000", "0x0", "1e3", "²"])
def test_a_user_who_is_not_there_is_told(user: str) -> None:
    with pytest.raises(ImageUnavailable, match="runs as user"):
        resolve_user(user, PASSWD, GROUP)


@given(user=st.text(max_size=20), passwd=st.text(max_size=200), group=st.text(max_size=200))
def test_no_passwd_file_breaks_it(user: str, passwd: str, group: str) -> None:
    try:
        who = resolve_user(user, passwd, group)
    except ImageUnavailable:
        return
    assert 0 <= who.uid <= 65_535
    assert 0 <= who.gid <= 65_535


@pytest.mark.parametrize(
    "document",
    [None, [], "x", {"Env": "A=b"}, {"Cmd": [1]}, {"Entrypoint": ["a\0b"]}, {"WorkingDir": 3},
     {"User": ["root"]}, {"Env": ["A=" + "x" * 2 * MIB]}],
)  # fmt: skip
def test_a_configuration_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(ImageUnavailable):
        read_config(document)


def test_environment_args_and_home_in_order() -> None:
    image = ImageConfig(env=(("A", "1"), ("PATH", "/own")), entrypoint=("run",), cmd=("dflt",))
    sandbox = plan(image, args=(), env={"A": "2"})
    assert sandbox.argv == ("run", "dflt")
    assert dict(sandbox.env) == {"A": "2", "PATH": "/own", "HOME": "/root", "HOSTNAME": "iexec"}
    assert plan(image).argv == ("run", "x")
    with pytest.raises(ImageUnavailable, match="names no command"):
        plan(ImageConfig(), args=())


@pytest.mark.parametrize(
    ("home", "becomes"),
    [("/root", "/root"), ("/home/app", "/home/app"), ("/", "/tmp"), ("/etc", "/tmp"),
     ("/proc/1", "/tmp"), ("/usr", "/tmp"), ("/usr/../etc", "/tmp"), ("/lib64/x", "/tmp"),
     ("/iexec_out", "/tmp"), ("relative", "/relative")],
)  # fmt: skip
def test_home_never_covers_the_system(home: str, becomes: str) -> None:
    sandbox = plan(ImageConfig(entrypoint=("x",)), home=home)
    assert dict(sandbox.env)["HOME"] == becomes
    assert {place.path for place in sandbox.tmpfs} == {"/tmp", becomes}


def test_a_home_with_files_of_the_app_is_left_alone() -> None:
    assert is_vacant(frozenset({".bashrc", ".profile"}))
    assert not is_vacant(frozenset({".bashrc", "app"}))
    sandbox = plan(ImageConfig(entrypoint=("x",)), vacant=False)
    assert [place.path for place in sandbox.tmpfs] == ["/tmp"]


def test_docker_is_told_everything() -> None:
    body = container.body(plan(ImageConfig(entrypoint=("x",))), image="i", device=None)
    host = body["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["ReadonlyRootfs"], host["Privileged"]) == (True, False)
    assert (host["Memory"], host["MemorySwap"]) == (64 * MIB, 64 * MIB)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 9)
    assert host["LogConfig"]["Config"]["max-file"] == "2"
    binds = [mount for mount in host["Mounts"] if mount["Type"] == "bind"]
    assert binds == [{"Type": "bind", "Source": "/in", "Target": "/iexec_in", "ReadOnly": True}]
    json.dumps(body)


def test_runc_is_told_everything() -> None:
    sandbox = plan(ImageConfig(entrypoint=("x",)))
    bundle = oci.bundle(
        sandbox, rootfs="/r", output="/o", base=500, cgroup="/c", machine="x86_64"
    )
    kinds = {namespace["type"] for namespace in bundle["linux"]["namespaces"]}
    assert kinds == {"pid", "network", "ipc", "uts", "mount", "user", "cgroup"}
    assert bundle["process"]["noNewPrivileges"]
    assert not any(bundle["process"]["capabilities"].values())
    assert bundle["root"] == {"path": "/r", "readonly": True}
    mapping = [{"containerID": 0, "hostID": 500, "size": 65_536}]
    assert bundle["linux"]["uidMappings"] == bundle["linux"]["gidMappings"] == mapping
    bound = {m["source"]: m["options"] for m in bundle["mounts"] if m["type"] == "bind"}
    assert set(bound) == {"/in", "/o"}
    assert "ro" in bound["/in"]


def test_bubblewrap_gets_no_secrets_by_its_environment() -> None:
    sandbox = plan(ImageConfig(entrypoint=("x",), env=(("LD_PRELOAD", "/evil.so"),)))
    words = arguments(sandbox, rootfs="/r", output="/o", user_namespace=None)
    assert words[words.index("LD_PRELOAD") - 1] == "--setenv"
    assert words.index("--clearenv") < words.index("LD_PRELOAD")
    assert {"--unshare-net", "--unshare-user", "--disable-userns", "--die-with-parent"} <= {
        *words
    }


ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}


class Kernel:
    """Runs a seccomp program as the kernel does."""

    def __init__(self, machine: str) -> None:
        raw = seccomp.bpf(machine)
        self.steps = [struct.unpack_from("=HBBI", raw, i) for i in range(0, len(raw), 8)]
        self.machine = machine

    def call(self, number: int, *args: int, arch: int | None = None) -> int | None:
        """The error of a call, 0 when it is let through, None when it kills."""
        padded = [*args, *[0] * (6 - len(args))]
        data = struct.pack("=IIQ6Q", number, arch or ARCHITECTURES[self.machine], 0, *padded)
        at = value = 0
        while True:
            code, yes, no, constant = self.steps[at]
            at += 1
            if code == 0x20:
                (value,) = struct.unpack_from("=I", data, constant)
            elif code == 0x06:
                action, detail = constant & 0xFFFF_0000, constant & 0xFFFF
                return {0x7FFF_0000: 0, 0x0005_0000: detail}.get(action)
            else:
                test = {
                    0x15: value == constant,
                    0x35: value >= constant,
                    0x45: value & constant,
                }
                at += yes if test[code] else no


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_denies_what_it_says(machine: str, column: int) -> None:
    kernel = Kernel(machine)
    denied = {numbers[column] for numbers in seccomp.DENIED.values()} - {None}
    clone3, clone, socket, ioctl = 435, (56, 220)[column], (41, 198)[column], (16, 29)[column]
    for number in range(600):
        expected = errno.EPERM if number in denied else errno.ENOSYS if number == clone3 else 0
        if number != socket:
            assert kernel.call(number) == expected, number
    for flag in seccomp.NEW_NAMESPACES:
        assert kernel.call(clone, flag | 17) == errno.EPERM
        assert kernel.call(clone, flag | 17 | 1 << 40) == errno.EPERM
    assert kernel.call(clone, 0x003D_0F00) == 0, "a thread"
    families = {f for f in range(50) if kernel.call(socket, f) == 0}
    assert families == set(seccomp.FAMILIES)
    assert kernel.call(ioctl, 0, 0x5412 | 1 << 33) == errno.EPERM
    assert kernel.call(ioctl, 0, 0x5401) == 0
    assert kernel.call(1, arch=0x4000_0003) is None, "another processor's calls kill"
    if machine == "x86_64":
        assert kernel.call(0x4000_0000 | 1) == errno.ENOSYS
    assert len(kernel.steps) < 4096


def test_unknown_processors_are_told() -> None:
    with pytest.raises(RuntimeUnfit, match="riscv64"):
        seccomp.bpf("riscv64")


@given(
    pieces=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))),
    cuts=st.lists(st.integers(1, 20), min_size=1),
)
def test_two_streams_are_told_apart_however_they_are_cut(pieces, cuts) -> None:
    raw = b"".join(struct.pack(">BxxxI", kind, len(data)) + data for kind, data in pieces)
    out, err = Tail(10_000), Tail(10_000)
    frames, at, turn = _Frames(out, err), 0, 0
    while at < len(raw):
        step = cuts[turn % len(cuts)]
        frames.add(raw[at : at + step])
        at, turn = at + step, turn + 1
    assert out.bytes() == b"".join(data for kind, data in pieces if kind == 1)
    assert err.bytes() == b"".join(data for kind, data in pieces if kind == 2)


@given(chunks=st.lists(st.binary(max_size=300)), limit=st.integers(0, 200))
def test_the_end_is_kept_and_the_rest_is_counted(chunks: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for chunk in chunks:
        tail.add(chunk)
    whole = b"".join(chunks)
    assert tail.bytes() == (whole[-limit:] if limit else b"")
    assert tail.dropped == max(0, len(whole) - limit)


def tree(root: Path, controllers: str, *, inner: str = "") -> Path:
    """A folder that looks like a group of version 2."""
    root.mkdir(parents=True)
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.subtree_control").write_text(inner)
    (root / "cgroup.procs").write_text("")
    return root


def test_groups_of_version_2_as_root(tmp_path: Path) -> None:
    mount = tree(tmp_path / "v2", "cpuset cpu io memory pids")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc /proc proc rw 0 0\ncgroup2 {mount} cgroup2 rw 0 0\n")
    found = Hierarchies.find(mounts, root=True)
    assert (found.v2, found.usable, found.roots) == (mount, True, (mount,))
    group = Cgroup(found, "job-1")
    (mount / "tallystick").mkdir()
    group.create(LIMITS)
    made = mount / "tallystick" / "job-1"
    assert (made / "memory.max").read_text() == str(64 * MIB)
    assert (made / "cpu.max").read_text() == "50000 100000"
    assert leftovers(found, "job-") == ("job-1",)
    (made / "memory.events").write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    assert group.ran_out_of_memory()


def test_groups_of_both_versions_side_by_side(tmp_path: Path) -> None:
    unified = tree(tmp_path / "unified", "hugetlb")
    folders = {name: tmp_path / name for name in ("memory", "cpu,cpuacct", "pids")}
    for folder in folders.values():
        folder.mkdir()
    mounts = tmp_path / "mounts"
    lines = [f"cgroup {path} cgroup rw,relatime,{name} 0 0" for name, path in folders.items()]
    mounts.write_text("\n".join([*lines, f"cgroup2 {unified} cgroup2 rw 0 0"]))
    found = Hierarchies.find(mounts, root=True)
    assert found.v2 is None
    assert found.v1["cpu"] == folders["cpu,cpuacct"]
    assert found.usable


@pytest.mark.parametrize(
    ("inner", "procs", "usable"),
    [("cpu memory pids", "", True), ("", "ours", True), ("", "1\n2", False)],
)
def test_groups_without_root_need_to_be_delegated(
    tmp_path: Path, inner: str, procs: str, usable: bool
) -> None:
    mount = tree(tmp_path / "v2", "cpu memory pids")
    ours = tree(mount / "user/app", "cpu memory pids", inner=inner)
    (ours / "cgroup.procs").write_text(procs.replace("ours", str(os.getpid())))
    (tmp_path / "mounts").write_text(f"cgroup2 {mount} cgroup2 rw 0 0\n")
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/user/app\n")
    found = Hierarchies.find(tmp_path / "mounts", tmp_path / "own", root=False)
    assert found.v2 == (ours if usable else None)
    assert found.usable == usable
