"""What a job sees: its input, its user, its image's wishes, and nothing else."""

from __future__ import annotations

import pytest
from oci_shop import busybox, file, folder, layer

from tallystick.execution.executor import Ended

pytestmark = pytest.mark.anyio


def said(outcome) -> dict[str, str]:
    """What a script printed as `name=value` lines."""
    lines = outcome.stdout.decode().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


async def test_a_job_reads_its_input_and_leaves_its_output(executor, job) -> None:
    work = job("cat /iexec_in/data.txt; echo hi > /iexec_out/result; echo oh >&2; exit 3")
    outcome = await executor.run(work)
    assert (outcome.exit_code, outcome.ended) == (3, Ended.EXITED)
    assert (outcome.stdout, outcome.stderr) == (b"forty-two\n", b"oh\n")
    assert (work.output_dir / "result").read_text() == "hi\n"


async def test_nothing_to_gain_by_privileges(executor, job) -> None:
    outcome = await executor.run(
        job("""
        awk '/^(Cap|NoNew|Seccomp:)/ {sub(":","="); print $1 $2}' /proc/self/status
        try() { name=$1; shift; "$@" >/dev/null 2>&1 && echo $name=done || echo $name=refused; }
        try mount mount -t tmpfs none /tmp
        try user unshare -U true
        try net unshare -n true
        try root chroot / true
        try node mknod /tmp/sda b 8 0
        try hostname hostname other
        try chown chown 12 /iexec_out
        """)
    )
    seen = said(outcome)
    assert {seen[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    tried = ("mount", "user", "net", "root", "node", "hostname", "chown")
    assert {name: seen[name] for name in tried} == dict.fromkeys(tried, "refused")


async def test_only_a_few_places_can_be_written(executor, job) -> None:
    outcome = await executor.run(
        job("""
        for place in / /bin /etc /dev /sys /iexec_in /srv/work /iexec_out /tmp $HOME /dev/shm
        do echo x 2>/dev/null >$place/new && echo $place=yes || echo $place=no; done
        echo x 2>/dev/null >/iexec_in/data.txt && echo data=yes || echo data=no
        echo x 2>/dev/null >/proc/sys/kernel/hostname && echo proc=yes || echo proc=no
        echo HOME=$HOME
        """)
    )
    seen = said(outcome)
    assert seen.pop("HOME") == "/root"
    writable = {place for place, answer in seen.items() if answer == "yes"}
    assert writable - {"/dev"} == {"/iexec_out", "/tmp", "/root", "/dev/shm"}
    assert "/dev" not in writable or executor.name == "docker"


async def test_the_network_is_its_own_loopback(executor, job, shop) -> None:
    outcome = await executor.run(
        job(f"""
        echo links=$(ls /sys/class/net 2>/dev/null || awk 'NR>2 {{print $1}}' /proc/net/dev)
        echo routes=$(awk 'NR>1' /proc/net/route | wc -l)
        wget -T 2 -q -O - http://{shop.host}/v2/ >/dev/null 2>&1 && echo registry=reached
        ping -c 1 -W 1 127.0.0.1 >/dev/null 2>&1; echo pinged=yes
        """)
    )
    seen = said(outcome)
    assert seen["links"].replace(":", "") == "lo"
    assert seen["routes"] == "0"
    assert "registry" not in seen


async def test_nothing_of_the_host_is_seen(executor, job, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    outcome = await executor.run(
        job(f"""
        cat {secret} 2>/dev/null
        echo processes=$(ls /proc | grep -c '^[0-9]')
        echo hostname=$(hostname)
        known='^(PATH|HOME|HOSTNAME|PWD|SHLVL|COLOUR|IEXEC_OUT)='
        echo environment=$(env | grep -v -E $known | tr '\\n' ' ')
        echo devices=$(ls /dev | grep -c -E '^(sd|vd|nvme|loop|kvm|mem|kmsg)')
        echo kcore=$(head -c 1 /proc/kcore 2>/dev/null | wc -c)
        echo descriptors=$(ls /proc/self/fd | tr '\\n' ' ')
        """)
    )
    seen = said(outcome)
    assert "of the host" not in outcome.stdout.decode()
    assert int(seen["processes"]) < 8
    assert (seen["hostname"], seen["environment"]) == ("iexec", "")
    assert (seen["devices"], seen["kcore"]) == ("0", "0")
    assert set(seen["descriptors"].split()) <= {"0", "1", "2", "3"}


async def test_the_user_of_the_image_is_kept(executor, job, shop) -> None:
    image = shop.add("test/user", busybox(), User="app", Cmd=["sh"])
    work = job(
        "echo u=$(id -u):$(id -g) HOME=$HOME; cat /iexec_in/data.txt; touch $HOME/x"
        " /tmp/x /iexec_out/mine && echo could=write; cat /root/x 2>/dev/null; kill -0 1",
        image=image,
    )
    (work.input_dir / "data.txt").chmod(0o600)
    outcome = await executor.run(work)
    assert outcome.stdout == b"u=1000:1001 HOME=/home/app\nforty-two\ncould=write\n"
    assert (work.output_dir / "mine").exists()


async def test_the_groups_of_the_image_are_kept(executor, job, shop) -> None:
    image = shop.add("test/groups", busybox(), User="app", Cmd=["sh"])
    outcome = await executor.run(
        job("awk '/^Groups/ {print $2, $3}' /proc/self/status", image=image)
    )
    if any(text.startswith("groups") for text in executor.limits_not_enforced()):
        pytest.skip("it says that it does not")
    assert b"44" in outcome.stdout.split(), outcome


async def test_root_stays_root_and_a_bare_number_needs_no_name(executor, job, shop) -> None:
    number = shop.add("test/number", busybox(), User="4242", Cmd=["sh"])
    assert (await executor.run(job("id -u"))).stdout == b"0\n"
    assert (await executor.run(job("id -u; id -g", image=number))).stdout == b"4242\n0\n"


async def test_entrypoint_command_folder_and_environment_are_the_images(
    executor, job, shop
) -> None:
    image = shop.add(
        "test/wishes",
        busybox(),
        Entrypoint=["sh", "-c", 'echo "$PWD $COLOUR $IEXEC_OUT" "$@"', "app"],
        Cmd=["its own", "words"],
        WorkingDir="/srv/work",
        Env=["COLOUR=blue", "IEXEC_OUT=wrong"],
    )
    asked = await executor.run(job("", image=image, args=("ours", "")))
    unasked = await executor.run(job("", image=image, args=()))
    assert asked.stdout == b"/srv/work blue /iexec_out ours \n"
    assert unasked.stdout == b"/srv/work blue /iexec_out its own words\n"


async def test_a_home_with_something_in_it_is_not_hidden(executor, job, shop) -> None:
    home = layer(folder("root"), file("root/.bashrc", b""), file("root/app.txt", b"shipped"))
    image = shop.add("test/home", busybox(), home, Cmd=["sh"])
    outcome = await executor.run(
        job("cat /root/app.txt; echo; echo $HOME; echo x >$HOME/x && echo ok", image=image)
    )
    assert outcome.stdout == b"shipped\n/tmp\nok\n"


@pytest.mark.parametrize("command", ["/bin/nothing", "/etc/passwd", "nothing-in-path"])
async def test_a_command_that_cannot_be_started_is_the_apps_failure(
    executor, job, shop, command
) -> None:
    image = shop.add("test/broken", busybox(), Entrypoint=[command])
    outcome = await executor.run(job("", image=image, args=()))
    assert (outcome.exit_code, outcome.ended) == (127, Ended.EXITED)
    assert outcome.stderr


async def test_two_jobs_at_once_share_an_image_and_nothing_else(executor, job) -> None:
    import anyio

    found = {}

    async def one(word: str) -> None:
        script = f"echo {word} >/tmp/w; sleep 0.3; cat /tmp/w; ls /iexec_out | wc -l"
        found[word] = (await executor.run(job(script))).stdout

    async with anyio.create_task_group() as group:
        group.start_soon(one, "left")
        group.start_soon(one, "right")
    assert found == {"left": b"left\n0\n", "right": b"right\n0\n"}
