"""Credentials are hidden, and nothing else."""

import pytest

from pipelines.redaction import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ann:s3cret@host:8000/v1 is down", "https://***@host:8000/v1 is down"),
        ("s3://KEY:SECRET@bucket/lake", "s3://***@bucket/lake"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic YWJjOmRlZg=='}", "{'Authorization': 'Basic ***'}"),
        ("sent bearer abcdefgh12345", "sent bearer ***"),
        ("token hf_AbCdEfGhIjKlMnOp was refused", "token *** was refused"),
        ("key sk-proj-abcdef0123456789", "key ***"),
        ("ghp_abcdefghijklmnop1234 and AKIAABCDEFGHIJKLMNOP", "*** and ***"),
        ('"api_key": "abc", "model": "m"', '"api_key": "***", "model": "m"'),
        ("OPENAI_API_KEY=abc123 vllm", "OPENAI_API_KEY=*** vllm"),
        ("aws_secret_access_key = abc/def", "aws_secret_access_key = ***"),
        ("get https://host/x?token=abc&n=1", "get https://host/x?token=***&n=1"),
    ],
)
def test_a_credential_is_hidden_where_it_stands_and_hiding_twice_changes_nothing(text, expected):
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/v1 answered in 3 s",
        "digest a96f1687cebdd64276068de1d5f2f1, request d7fc0ba8670f7a57",
        '"engine.api_key_env": null',
        "the variable OPENAI_API_KEY is not set",
        "num_tokens: 12, tokens/s 3199",
        "ann@example.org reads lake/rollouts/2026-11-21",
        "12-5=7 @ step 2; a key: value pair",
    ],
)
def test_what_is_no_credential_stays(text):
    assert redacted(text) == text
