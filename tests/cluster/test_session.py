"""A Ray that raytag starts is this user's alone, and gone when its session ends."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raytag.cluster import session
from tests.cli import REPOSITORY, environment

#: A session at work, seen from inside: what its processes listen on, where its files are, who may enter.
LOOK = """
import json, psutil, sys
from raytag.cluster.session import ray_session

with ray_session(None, dashboard=sys.argv[1] == "dashboard") as ready:
    ready()
    import ray
    assert ray.get([ray.remote(num_cpus=1)(lambda: 1).remote() for _ in range(4)]) == [1] * 4
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    listening = []
    for process in processes:
        for c in process.net_connections("inet"):
            if c.status == psutil.CONN_LISTEN or (c.type == 2 and not c.raddr):
                listening.append((c.laddr.ip, c.laddr.port, " ".join(process.cmdline())[:90]))
    hangup = [(p.pid, line) for p in processes[1:] for line in open(f"/proc/{p.pid}/status") if "SigBlk" in line]
    session = ray._private.worker._global_node.get_session_dir_path()
left = [p.pid for p in psutil.wait_procs(processes[1:], 10)[1]]
print(json.dumps({"listening": listening, "hangup": hangup, "session": session, "left": left}))
"""


def on_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@pytest.mark.long
@pytest.mark.parametrize("dashboard", ["", "dashboard"])
def test_a_local_ray_listens_to_this_machine_only_and_its_files_are_private(tmp_path, dashboard):
    told = subprocess.run(
        [sys.executable, "-c", LOOK, dashboard],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(told.stdout.splitlines()[-1])
    assert len(found["listening"]) > 3
    assert [where for where in found["listening"] if not on_loopback(where[0])] == []
    assert found["left"] == []
    private = Path(found["session"]).parents[1]
    assert private.parent == Path(tempfile.gettempdir())
    assert private.stat().st_mode & 0o077 == 0
    assert private.stat().st_uid == os.getuid()
    assert found["hangup"]
    for pid, line in found["hangup"]:  # a terminal that closes ends none of them
        assert int(line.split()[1], 16) & 1, f"process {pid} would die of SIGHUP"


def test_a_ray_that_was_late_is_started_again(monkeypatch):
    tried = []

    def late(**options):
        tried.append(options)
        if len(tried) < 3:
            raise Exception("The current node timed out during startup. This could happen because …")
        return "context"

    monkeypatch.setattr("ray.init", late)
    assert session.init_ray(address="local") == "context"
    assert tried == [{"address": "local"}] * 3
    tried[:] = []
    monkeypatch.setattr(session, "START_ATTEMPTS", 2)
    with pytest.raises(Exception, match="timed out during startup"):
        session.init_ray()
    monkeypatch.setattr("ray.init", lambda **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.init_ray()
