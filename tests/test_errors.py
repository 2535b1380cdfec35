"""What is said or stored holds no secret, and what ends a command is one sentence."""

from __future__ import annotations

import json

import pytest

from raytag.cli import main
from raytag.console import make_console, say
from raytag.errors import redacted
from raytag.search.options import LaunchOptions
from raytag.store.files import Storage

SECRETS = [
    ("s3://AKIA123:wJalr/XUt+n@bucket/runs", "s3://***@bucket/runs"),
    ("s3://AKIA123:wJalr%2FXUt@bucket/runs?region=eu", "s3://***@bucket/runs?region=eu"),
    ("s3:/AKIA123:wJalr@bucket", "s3:/***@bucket"),  # as pathlib writes it
    ("abfs://:password@account.blob/c", "abfs://***@account.blob/c"),
    ("https://ghp_token@host/x", "https://***@host/x"),
    ("s3://b/r?access_key=AB&secret_key=CD&region=x", "s3://b/r?access_key=***&secret_key=***&region=x"),
    ("s3://b/r?X-Amz-Signature=f00&sas_token=t", "s3://b/r?X-Amz-Signature=***&sas_token=***"),
    (
        "launch.py --runs-dir 's3://a:b@c/d' --cache-dir s3://e:f@g",
        "launch.py --runs-dir 's3://***@c/d' --cache-dir s3://***@g",
    ),
    ('{"runs_dir": "s3://a:pä@c", "seed": 1}', '{"runs_dir": "s3://***@c", "seed": 1}'),
]
PLAIN = [
    "s3://bucket/runs?region=eu-west-1&endpoint_override=http%3A%2F%2F127.0.0.1%3A9",
    "http://127.0.0.1:8265 (it asks for a token: ray get-auth-token prints it)",
    "/data/a:b/c.wav: who@where", "C:\\Users\\a", "ray://host:10001 by me@home", "12:30 s3://b/x @ noon",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [*SECRETS, *((text, text) for text in PLAIN)])
def test_secrets_of_uris_are_blotted_out(text, expected):
    assert redacted(text) == expected


def test_secrets_of_the_environment_are_blotted_out(monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "DB_PASSWORD"):
        monkeypatch.setenv(name, f"{name}-value")
        assert redacted(f"error: {name}-value was refused") == "error: *** was refused"
    monkeypatch.setenv("SHORT_KEY", "words")
    monkeypatch.setenv("TOKEN_FILE", "/run/a/token/file")
    monkeypatch.setenv("SSH_KEY", "/run/a/key/file")
    for text in ("no words", "/run/a/token/file", "/run/a/key/file"):
        assert redacted(text) == text


URI = "s3://AKIA123:wJalr@bucket/runs?secret_key=hidden"


@pytest.mark.parametrize("words", ["AKIA123", "wJalr", "hidden"])
def test_secrets_reach_no_line_no_event_and_no_error(words, capsys, monkeypatch):
    say(make_console(), f"Leaderboard: {URI}")
    said = capsys.readouterr().out
    assert "bucket/runs" in said
    assert words not in said
    assert words not in json.dumps(LaunchOptions(runs_dir=URI, cache_dir=URI).plain())
    storage = Storage.__new__(Storage)  # one that is not asked
    storage.uri = URI
    assert storage.where("run.json") == "s3://***@bucket/runs/run.json"
    with pytest.raises(SystemExit):
        main(["score", "run", "--runs-dir", URI])  # pyarrow does not know secret_key, and quotes the URI
    told = capsys.readouterr()
    assert "error: " in told.err
    assert words not in told.err + told.out
