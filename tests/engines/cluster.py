"""A Slurm of one node in a folder: own sockets, own ports on loopback, no accounting, a GPU that is only counted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = ["slurmctld", "slurmd", "munged", "sbatch", "scontrol"]
CONFIG = """
ClusterName=scfmbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=86400
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=cuda Nodes={host} MaxTime=INFINITE State=UP
"""


def missing_tools() -> list[str]:
    """Return the programs of Slurm and munge that are not on ``PATH``."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    return [name for name in TOOLS if shutil.which(name, path=path) is None]


@contextmanager
def slurm(folder: Path, *, cores: int = 16, memory: int = 512_000) -> Iterator[dict[str, str]]:
    """Start a cluster of one node and take it down.

    Parameters
    ----------
    folder
        Folder for everything of it; short, since it holds a socket.
    cores, memory
        What the node says it has, in cores and MB; more than the machine has is fine.

    Yields
    ------
    Variables for the environment of a run.

    Raises
    ------
    RuntimeError
        The node did not come up, or a daemon did not end.
    """
    (folder / "munge").mkdir(parents=True)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    host = socket.gethostname().split(".")[0]
    values = {"folder": folder, "host": host, "ports": _free_ports(2), "user": "root", "cores": cores, "memory": memory}
    (folder / "slurm.conf").write_text(CONFIG.format(**values))
    # a GPU without a device file is not counted by the plugin
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    extra = {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]),
    }
    environment = os.environ | extra
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder}/munge/{name}" for option, name in names.items()]
    try:
        subprocess.run(["munged", "--force", *options], env=environment, check=True)
        subprocess.run(["slurmctld", "-f", folder / "slurm.conf"], env=environment, check=True)
        subprocess.run(["slurmd", "-f", folder / "slurm.conf", "-N", host], env=environment, check=True)
        _wait_until_idle(environment, folder)
        try:
            yield extra
        finally:
            _cancel_all(extra)
    finally:
        for pid in (folder / "slurmd.pid", folder / "slurmctld.pid", folder / "munge" / "pid"):
            _stop(pid)


def jobs(extra: dict[str, str]) -> list[dict[str, str]]:
    """Return every job that the controller remembers, as field -> value."""
    text = subprocess.run(
        ["scontrol", "show", "job", "--oneliner"], env=os.environ | extra, capture_output=True, text=True, check=True
    ).stdout
    return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines() if line.startswith("JobId=")]


def request_of(job: dict[str, str]) -> tuple[int, int, int]:
    """Return what a job was given: cores, MB of memory and seconds, read from the controller's record."""
    number, unit = re.fullmatch(r"([\d.]+)([MGT]?)", job["MinMemoryNode"]).groups()
    days, _, clock = job["TimeLimit"].rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return (
        int(job["NumCPUs"]),
        int(float(number) * {"": 1, "M": 1, "G": 2**10, "T": 2**20}[unit]),
        (24 * int(days or 0) + hours) * 3600 + 60 * minutes + seconds,
    )


def control(extra: dict[str, str], *words: str) -> None:
    """Run ``scontrol`` or ``scancel``."""
    subprocess.run(list(words), env=os.environ | extra, check=True, capture_output=True)


def wait_for_job(
    extra: dict[str, str], run: "subprocess.Popen[bytes]", process: str, state: str, seconds: int = 900
) -> dict[str, str]:
    """Return the first job of a process (empty: of any) in a state, as soon as there is one; else an error."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and run.poll() is None:
        for job in jobs(extra):
            if process in job["JobName"] and job["JobState"] == state:
                return job
        time.sleep(0.2)
    raise AssertionError(f"no job of {process} was {state} in {seconds} s or until the run ended ({run.poll()})")


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    for _ in range(100):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if done.stdout.split()[:1] == ["idle"]:
            return
        time.sleep(0.2)
    raise RuntimeError(f"the node did not come up: {done.stdout}{done.stderr}; see {folder}/slurmctld.log")


def _cancel_all(extra: dict[str, str], seconds: int = 60) -> None:
    """Cancel the jobs that are left, and wait until none of them runs: the daemons leave their processes behind."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        left = [job["JobId"] for job in jobs(extra) if job["JobState"] in {"PENDING", "RUNNING", "COMPLETING"}]
        if not left:
            return
        subprocess.run(["scancel", *left], env=os.environ | extra, check=False, capture_output=True)
        time.sleep(0.5)
    raise RuntimeError(f"jobs {', '.join(left)} do not end")


def _free_ports(number: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _stop(file: Path) -> None:
    """End the daemon whose process id is in a file, and wait for its end."""
    if not file.exists():
        return
    pid = int(file.read_text())
    for _ in range(300):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the daemon of {file} (process {pid}) does not end")
