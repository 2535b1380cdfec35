# The image that the nodes of cluster.yaml run: raytag with the CUDA build of torch. It runs without a GPU too.
#
#     docker build -t YOUR-REGISTRY/raytag:0.1.0 .
#     docker push YOUR-REGISTRY/raytag:0.1.0
#
# It is several gigabytes, so CI does not build it: tests/test_packaging.py checks that the versions here are those of
# constraints.txt and pyproject.toml, and that what is copied exists. The wheel of torch brings its CUDA libraries; the
# host brings the NVIDIA driver (580 or newer for CUDA 13) and the NVIDIA container toolkit.
FROM python:3.11-slim-bookworm

# `ray up` copies files with rsync, the head starts workers through ssh, and tmux keeps a launch alive when the
# connection to it is lost
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client rsync tmux \
    && rm -rf /var/lib/apt/lists/*

# the container toolkit shows GPUs only to images that ask for them
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# No virtual environment: Ray starts its commands from a login shell, which finds /usr/local/bin only.
# The large packages first, so that a change of raytag does not install them again; boto3 is what the head needs to
# start workers on AWS.
WORKDIR /raytag
COPY constraints.txt ./
RUN pip install --constraint constraints.txt "torch==2.13.0"
RUN pip install --constraint constraints.txt "ray[tune,data,default]==2.60.0" boto3

COPY pyproject.toml README.md launch.py ensemble_search.py ./
COPY raytag ./raytag
COPY search_spaces ./search_spaces
RUN pip install --constraint constraints.txt --editable .
