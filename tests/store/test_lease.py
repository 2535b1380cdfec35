"""One writer at a time: whatever clocks say, whoever has the same name, and if two come at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from raytag.store import lease as leases
from raytag.store.files import Storage
from raytag.store.lease import FILE, HEARTBEAT_SECONDS, STALE_SECONDS, WATCH_SECONDS, Lease, LeaseError

NOBODY = 2**22 + 1  # no process has this number: Linux gives none above 2^22


class Clock:
    """Stands in for the module ``time``: nobody waits, and the clock on the wall may jump."""

    def __init__(self):
        self.now, self.wall = 1000.0, 1_800_000_000.0
        self.slept = 0.0
        self.meanwhile = lambda: None  # whenever somebody sleeps

    def time(self):
        return self.wall

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now, self.wall, self.slept = self.now + seconds, self.wall + seconds, self.slept + seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


def make(folder, what="run 'x'"):
    return Lease(Storage(folder), what, "give this launch another --run name")


def write(folder, clock, age=0.0, **changes):
    """A lease that another process left, its last beat ``age`` seconds ago."""
    record = {"id": "other", **leases.place(), "since": clock.wall - 1000, "beat": clock.wall - age} | changes
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(json.dumps(record))
    return record


def beat(folder, clock):
    record = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**record, "beat": record["beat"] + HEARTBEAT_SECONDS}))


def taken(folder) -> bool:
    with make(folder) as held:
        assert not held.note
        return json.loads((folder / FILE).read_text())["id"] != "other"


ELSEWHERE = [{"host": "elsewhere"}, {"machine": "another boot"}, {"processes": "pid:[1]"}]
OF_A_NAME = ["another host", "another machine of the same name", "another container of the same name"]


def test_a_living_owner_is_named_and_leaves_nothing_behind(tmp_path, clock):
    folder = tmp_path / "run"
    with make(folder), pytest.raises(LeaseError, match=rf"run 'x'.*process {os.getpid()} .*another --run name"):
        make(folder).__enter__()
    assert not folder.exists()  # it held the lease alone
    with make(folder):
        (folder / "run.json").touch()
    assert [path.name for path in folder.iterdir()] == ["run.json"]


@pytest.mark.parametrize("jump", [-1e6, -100.0, 100.0, 1e6])
def test_a_clock_that_jumps_neither_kills_nor_raises_an_owner_on_this_machine(tmp_path, clock, monkeypatch, jump):
    folder = tmp_path / "run"
    created = psutil.Process.create_time
    with make(folder):
        clock.wall += jump
        # what the system says of a start moves with the clock
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + jump)
        with pytest.raises(LeaseError):
            make(folder).__enter__()
    write(folder, clock, age=jump, pid=NOBODY)
    clock.slept = 0.0
    assert taken(folder)
    assert clock.slept < 1  # its process is gone: nothing to watch


def test_a_process_that_only_has_the_number_of_a_dead_owner_is_not_it(tmp_path, clock):
    write(tmp_path / "run", clock, started="1 ticks")
    assert taken(tmp_path / "run")


def test_a_killed_owner_that_nobody_collected_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = leases.start_of(child.pid)
    assert began
    assert began == leases.start_of(child.pid) != leases.start_of(os.getpid())
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert leases.start_of(child.pid) is None
    child.communicate()
    assert leases.start_of(child.pid) is None


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path):
    code = (
        "import time; from raytag.store.lease import Lease; from raytag.store.files import Storage\n"
        f"with Lease(Storage({str(tmp_path)!r}), 'r', ''): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        with pytest.raises(LeaseError, match=f"process {process.pid} on"):
            make(tmp_path).__enter__()
        process.kill()
        process.wait()
    with make(tmp_path):
        pass


def test_where_there_is_no_proc_the_start_of_a_process_counts(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda path, **how: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    place = leases.place()
    assert place["machine"]
    assert place["started"].endswith(" s")
    assert leases.lives_here(place)
    assert leases.lives_here({**place, "pid": NOBODY}) is False


@pytest.mark.parametrize("other", ELSEWHERE, ids=OF_A_NAME)
def test_an_owner_elsewhere_lives_while_it_beats(tmp_path, clock, other):
    """Its number may be nobody's here, or somebody else's: that tells nothing."""
    folder = tmp_path / "run"
    for pid in (os.getpid(), NOBODY):
        write(folder, clock, 3.0, pid=pid, **other)
        with pytest.raises(LeaseError, match="last heard of 3 s ago"):
            make(folder).__enter__()
    assert clock.slept == 0


@pytest.mark.parametrize("age", [STALE_SECONDS + 1, 1e6, -1.0, -1e6])
@pytest.mark.parametrize("other", ELSEWHERE, ids=OF_A_NAME)
def test_an_owner_elsewhere_that_is_silent_is_dead_also_with_a_beat_from_the_future(tmp_path, clock, age, other):
    folder = tmp_path / "run"
    write(folder, clock, age, **other)
    assert taken(folder)
    assert clock.slept < WATCH_SECONDS + 2


@pytest.mark.parametrize("age", [STALE_SECONDS + 1, 1e6, -1.0, -1e6])
def test_an_owner_elsewhere_that_beats_lives_whatever_the_clocks_say(tmp_path, clock, age):
    folder = tmp_path / "run"
    write(folder, clock, age, host="elsewhere")
    began = clock.now
    clock.meanwhile = lambda: clock.now - began > 4 and beat(folder, clock)
    with pytest.raises(LeaseError):
        make(folder).__enter__()
    assert json.loads((folder / FILE).read_text())["id"] == "other"


DAMAGED = [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'{"id": "x"}', b'{"id": 1, "host": 2}', b'"id"']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_lease_is_taken_over_with_a_word_once_it_is_stale(tmp_path, clock, content):
    (tmp_path / FILE).write_bytes(content)
    os.utime(tmp_path / FILE, (clock.wall - 5, clock.wall - 5))
    with pytest.raises(LeaseError, match=r"lease\.json is damaged .* Try again when it is 60 s old"):
        make(tmp_path).__enter__()
    os.utime(tmp_path / FILE, (clock.wall - 61, clock.wall - 61))
    with make(tmp_path) as held:
        assert "lease.json was damaged" in held.note
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()


def test_a_damaged_lease_whose_owner_mends_it_is_not_taken(tmp_path, clock):
    (tmp_path / FILE).write_bytes(b"")
    os.utime(tmp_path / FILE, (clock.wall - 61, clock.wall - 61))
    clock.meanwhile = lambda: write(tmp_path, clock, host="elsewhere")
    with pytest.raises(LeaseError, match="on elsewhere"):
        make(tmp_path).__enter__()


def test_the_owner_mends_its_lease_and_stops_when_it_is_anothers(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.01)

    def wait_for(condition):
        patience = time.monotonic() + 20
        while not condition() and time.monotonic() < patience:
            time.sleep(0.01)
        return condition()

    def whole():
        return f'"pid": {os.getpid()}' in (tmp_path / FILE).read_text()

    with make(tmp_path) as held:
        for content in ("", "{"):
            (tmp_path / FILE).write_text(content)
            assert wait_for(whole)
        assert not held.lost
        others = json.dumps({**held._record, "id": "other", "beat": time.time()})
        # again and again: a beat that had looked before would write over it
        assert wait_for(lambda: held.lost or not (tmp_path / FILE).write_text(others))
    assert json.loads((tmp_path / FILE).read_text())["id"] == "other"  # which is not removed


def test_of_many_that_come_at_once_exactly_one_holds_the_lease(tmp_path, monkeypatch):
    """All look before the first one writes."""
    many = 6
    looked, ended = threading.Barrier(many), threading.Barrier(many)
    look, outcomes = Lease._refuse_while_held, []

    def look_together(lease):
        at = look(lease)
        looked.wait()
        return max(at, time.monotonic())

    def come():
        lease = make(tmp_path)
        try:
            lease.__enter__()
            outcomes.append("held")
        except LeaseError as error:
            outcomes.append(str(error))
        ended.wait()
        lease.__exit__(None, None, None)

    monkeypatch.setattr(Lease, "_refuse_while_held", look_together)
    threads = [threading.Thread(target=come) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("held") == 1
    assert sum("at this moment; try again" in outcome for outcome in outcomes) == many - 1
    assert not list(tmp_path.glob("*"))


def test_a_disk_so_slow_that_another_one_was_faster_is_noticed(tmp_path, clock, monkeypatch):
    """Between this one's look and its writing, a second one takes the lease for itself."""
    write_beat, first, second = Lease._beat, make(tmp_path), make(tmp_path)
    beats = []

    def slowly(lease):
        if lease is first and not beats:
            beats.append(1)
            second.__enter__()
        write_beat(lease)

    monkeypatch.setattr(Lease, "_beat", slowly)
    clock.meanwhile = lambda: clock.slept > HEARTBEAT_SECONDS and second._beat()  # as it does all the time
    with pytest.raises(LeaseError, match="is being worked on"):
        first.__enter__()
    assert json.loads((tmp_path / FILE).read_text())["id"] == second._record["id"]
    clock.meanwhile = lambda: None
    second.__exit__(None, None, None)
