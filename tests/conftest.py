"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:  # where torch is not installed, tests that need it are skipped one by one
    from torch import nn

REPOSITORY = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = importlib.util.find_spec("torch") is None


def skip_without_torch(report: pytest.CollectReport | pytest.TestReport, call: pytest.CallInfo, path: Path) -> None:
    """Where torch is not installed, what failed because of that alone is skipped; no list has to be kept."""
    error = call.excinfo.value if WITHOUT_TORCH and call.excinfo else None
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            report.outcome = "skipped"
            report.longrepr = (str(path), None, "needs torch")
            return
        error = error.__cause__ or error.__context__


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    skip_without_torch(report, report.call, collector.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    skip_without_torch(report, call, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A command that a signal ended in this process leaves its answers to signals in place."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    result = yield
    for number, handler in before.items():
        signal.signal(number, handler)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Skips must not hide that nearly nothing ran: ``RAYTAG_LEAST_PASSED`` tests have to pass where it is set."""
    least = int(os.environ.get("RAYTAG_LEAST_PASSED", 0))
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and len(reporter.stats.get("passed", [])) < least:
        reporter.write_line(f"\nfewer than {least} tests passed", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of tests run side by side: those that start whole launches take longest, so they begin."""
    items.sort(key=lambda item: not item.path.name.endswith("_cli.py"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and reference arrays beside the checkout; tests that need it skip without it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "golden").is_dir():
        message = "../shared (recordings and reference arrays) is not beside this checkout"
        if os.environ.get("RAYTAG_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """Where an S3 server may be started; Ray's workers have to know it before."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(
            ("127.0.0.1", 0)
        )  # never listens: nobody else is given the port, and a server that reuses it is
        yield holder.getsockname()[1]


@pytest.fixture(scope="session")
def ray_session(s3_port: int) -> Iterator[None]:
    """One Ray of two cores for the whole test session."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
    os.environ.update(AWS_ENDPOINT_URL=f"http://127.0.0.1:{s3_port}", AWS_DEFAULT_REGION="us-east-1")
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
    import ray

    from raytag.cluster.session import init_ray

    size = {"num_cpus": 2, "object_store_memory": 500_000_000}
    init_ray(address="local", include_dashboard=False, log_to_driver=False, **size)
    yield
    ray.shutdown()


def hash32(n: int) -> np.ndarray:
    h = np.arange(n, dtype=np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    return h ^ (h >> np.uint32(16))


@pytest.fixture
def set_weights() -> Callable[[nn.Module, str], None]:
    """Fill the weights of a fresh network in place by the reference arrays' rules, and put it in evaluation mode.

    Rule A: ``0.02 cos i``. Rule B: uniform in +-sqrt(6 / fan_in) from a 32-bit integer hash of i. Both for the i-th
    element of every convolution's and linear layer's weight in row-major order; their biases are 0.01.
    """
    import torch
    from torch import nn

    assert hash32(5).tolist() == [0, 1753845952, 3507691905, 1408362973, 3648937681]

    def fill(net: nn.Module, rule: str) -> None:
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                n, fan_in = module.weight.numel(), module.weight[0].numel()
                if rule == "A":
                    flat = 0.02 * np.cos(np.arange(n, dtype=np.float64))
                else:
                    flat = (2 * (hash32(n).astype(np.float64) / 2**32) - 1) * np.sqrt(6 / fan_in)
                with torch.no_grad():
                    module.weight.copy_(torch.tensor(flat.astype(np.float32)).view_as(module.weight))
                    if module.bias is not None:
                        module.bias.fill_(0.01)
        net.eval()

    return fill


@pytest.fixture
def bucket(ray_session: None, s3_port: int) -> Iterator[str]:
    """The URI of an empty bucket on an S3 server of this test's own."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=s3_port, verbose=False)
    server.start()
    bucket = boto3.resource("s3").create_bucket(Bucket="bucket")
    yield "s3://bucket"
    bucket.objects.delete()
    bucket.delete()
    server.stop()
