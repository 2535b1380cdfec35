"""What cannot be run here still has to agree: constraints, the image, and the cluster that starts it."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import raytag

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CLUSTER_TEXT = (ROOT / "cluster.yaml").read_text()

#: What the AWS node provider of Ray 2.60 reads; Ray itself accepts any key here and ignores the misspelt.
PROVIDER_KEYS = {
    "type",
    "region",
    "availability_zone",
    "cache_stopped_nodes",
    "use_internal_ips",
    "security_group",
    "key_pair",
    "aws_credentials",
    "cloudwatch",
}


def read_pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    split = [line.split("==") for line in pins]
    found = {canonicalize_name(name): Version(version) for name, version in split}
    assert len(found) == len(pins)
    return found


PINS = read_pins()
DIRECT = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]

PYTHONS = [f"3.{minor}" for minor in range(20) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])]


class TestConstraints:
    def test_torch_comes_first_and_the_rest_is_sorted(self):
        names = list(PINS)
        assert names[0] == "torch"
        assert names[1:] == sorted(names[1:])
        assert not {"raytag", "pip", "setuptools"} & set(names)

    @pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
    def test_every_requirement_is_pinned_within_its_range(self, requirement):
        name = canonicalize_name(requirement.name)
        assert name in PINS
        assert PINS[name] in requirement.specifier
        # local versions such as 2.13.0+cpu are builds of the same version
        assert importlib.metadata.version(name).split("+")[0] == str(PINS[name])

    def test_nothing_below_them_is_left_open(self):
        seen: set[str] = set()
        queue = [(requirement.name, tuple(sorted(requirement.extras))) for requirement in DIRECT]
        while queue:
            name, extras = queue.pop()
            key = f"{canonicalize_name(name)}{extras}"
            if key in seen:
                continue
            seen.add(key)
            assert canonicalize_name(name) in PINS or canonicalize_name(name) == "setuptools", name
            try:
                required = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue  # left out on this Python
            for text in required:
                requirement = Requirement(text)
                if name == "torch" and canonicalize_name(requirement.name) not in PINS:
                    continue  # the CUDA libraries of a CUDA build, whose versions torch states itself
                environments = [
                    {"extra": extra, "python_version": python, "python_full_version": f"{python}.1"}
                    for extra in ("", *extras)
                    for python in PYTHONS
                ]
                if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
                    queue.append((requirement.name, tuple(sorted(requirement.extras))))
        assert len(seen) > 50


class TestDockerfile:
    def instructions(self, name: str) -> list[str]:
        joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
        return [line.split(maxsplit=1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]

    def test_python_is_the_one_that_the_project_wants(self):
        (image,) = self.instructions("FROM")
        version = re.fullmatch(r"python:(\d+\.\d+)-slim-\w+", image)[1]
        assert Version(version) in Requirement(f"python{PROJECT['requires-python']}").specifier

    def test_every_version_is_that_of_the_constraints(self):
        stated = dict(re.findall(r'"([a-z]+)(?:\[[a-z,]+\])?==([0-9.]+)"', DOCKERFILE))
        assert set(stated) == {"torch", "ray"}
        for name, version in stated.items():
            assert PINS[name] == Version(version)

    def test_ray_has_the_extras_of_the_project(self):
        (extras,) = re.findall(r'"ray\[([a-z,]+)\]', DOCKERFILE)
        (ours,) = [requirement for requirement in DIRECT if requirement.name == "ray"]
        assert set(extras.split(",")) == ours.extras

    def test_every_installation_is_constrained(self):
        installs = [line for line in self.instructions("RUN") if "pip install" in line]
        assert len(installs) == 3
        assert all("--constraint constraints.txt" in line for line in installs)
        assert "boto3" in PINS  # the head starts workers with it
        assert any(line.endswith(" boto3") for line in installs)

    def test_what_is_copied_exists_and_what_a_launch_needs_is_copied(self):
        sources = [source for line in self.instructions("COPY") for source in line.split()[:-1]]
        assert [source for source in sources if not (ROOT / source).exists()] == []
        assert {"raytag", "search_spaces", "launch.py", "ensemble_search.py", "pyproject.toml"} <= set(sources)
        assert PROJECT["readme"] in sources  # pip reads it when it builds the package

    def test_it_has_the_tools_and_settings_that_ray_up_takes_for_granted(self):
        (packages,) = [line for line in self.instructions("RUN") if "apt-get" in line]
        assert {"rsync", "openssh-client"} <= set(packages.split())
        (settings,) = self.instructions("ENV")
        assert "NVIDIA_VISIBLE_DEVICES=all" in settings.split()  # --runtime=nvidia alone shows no GPU


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load(CLUSTER_TEXT)


@pytest.fixture(scope="module")
def node_types(cluster) -> dict[str, Any]:
    return cluster["available_node_types"]


class TestCluster:
    def test_ray_accepts_it(self, cluster):
        from ray.autoscaler._private.util import prepare_config, validate_config

        prepared = prepare_config(cluster)
        validate_config(prepared)
        commands = [prepared[f"{kind}setup_commands"] for kind in ("", "head_", "worker_")]
        assert commands == [[], [], []]  # else Ray's defaults would install another Ray
        assert prepared["docker"]["image"] == cluster["docker"]["image"]

    def test_provider_keys_are_those_that_ray_reads(self, cluster):
        provider = cluster["provider"]
        assert set(provider) <= PROVIDER_KEYS
        assert provider["type"] == "aws"
        zones = provider["availability_zone"].split(",")
        assert all(re.fullmatch(re.escape(provider["region"]) + "[a-z]", zone) for zone in zones)

    def test_workers_come_from_nothing_and_stay_within_the_limit(self, cluster, node_types):
        workers = {name: node for name, node in node_types.items() if name != cluster["head_node_type"]}
        assert workers
        for node in workers.values():
            assert node["min_workers"] == 0
            assert 0 < node["max_workers"] <= cluster["max_workers"]
            assert node["resources"]["GPU"] >= 1
        assert 0 < cluster["idle_timeout_minutes"] <= 60

    def test_head_exists_and_has_cores_but_no_gpu(self, cluster, node_types):
        resources = node_types[cluster["head_node_type"]]["resources"]
        assert resources["CPU"] > 0
        assert resources.get("GPU", 0) == 0

    def test_node_settings_are_parameters_of_run_instances(self, node_types):
        import botocore.session
        from botocore.validate import ParamValidator

        model = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
        for node in node_types.values():
            parameters = {**node["node_config"], "MinCount": 1, "MaxCount": 1}
            report = ParamValidator().validate(parameters, model.input_shape)
            assert not report.has_errors(), report.generate_report()
            assert re.fullmatch("ami-[0-9a-f]{17}", parameters["ImageId"])
        misspelt = {"InstanceTyp": "m7i.large", "MinCount": 1, "MaxCount": 1}
        assert ParamValidator().validate(misspelt, model.input_shape).has_errors()

    def test_resources_are_those_of_the_instance_types(self, cluster, node_types):
        from moto.ec2.models.instance_types import INSTANCE_TYPES

        for node in node_types.values():
            machine = INSTANCE_TYPES[node["node_config"]["InstanceType"]]
            gpus = sum(gpu["Count"] for gpu in machine.get("GpuInfo", {}).get("Gpus", []))
            assert node["resources"]["CPU"] == machine["VCpuInfo"]["DefaultVCpus"]
            assert node["resources"].get("GPU", 0) == gpus
            assert machine["ProcessorInfo"]["SupportedArchitectures"] == ["x86_64"]  # as the machine image

    def test_workers_may_use_the_bucket_and_nodes_share_the_recordings(self, cluster, node_types):
        workers = [node for name, node in node_types.items() if name != cluster["head_node_type"]]
        assert all("IamInstanceProfile" in node["node_config"] for node in workers)
        (sync,) = [line for line in cluster["initialization_commands"] if "s3 sync" in line]
        folder = Path(sync.split()[-1])
        mounts = [
            option.split()[1].split(":") for option in cluster["docker"]["run_options"] if option.startswith("-v")
        ]
        assert any(Path(host) == Path(inside) and Path(host) in folder.parents for host, inside, _ in mounts)
        assert f"--data {folder} " in CLUSTER_TEXT.replace("\n", " ")

    def test_ray_and_raytag_are_the_same_everywhere(self, cluster):
        assert raytag.__version__ == PROJECT["version"]
        (stated,) = re.findall(r"Ray (\d+\.\d+\.\d+)", CLUSTER_TEXT)
        assert Version(stated) == PINS["ray"]
        image = cluster["docker"]["image"]
        assert image.endswith(f"/raytag:{raytag.__version__}")
        built = re.findall(r"docker (?:build -t|push) (\S+)", DOCKERFILE)
        assert built == [image, image]

    @pytest.mark.parametrize("name", ["Makefile", "README.md"])
    def test_other_files_name_the_same_image(self, cluster, name):
        stated = re.findall(r"\S*raytag:\d[\w.]*", (ROOT / name).read_text())
        if not stated:
            pytest.skip(f"{name} names no image")
        assert set(stated) == {cluster["docker"]["image"]}

    def test_ray_starts_in_ways_that_the_image_has(self, cluster):
        start = cluster["head_start_ray_commands"][-1]
        assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
        assert "--dashboard-host=127.0.0.1" in start  # reached through ssh only
        assert "--address=$RAY_HEAD_IP:6379" in cluster["worker_start_ray_commands"][-1]
