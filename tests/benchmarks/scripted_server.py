"""A completions server whose model is the script of tests/assets/scripted_night.py; ends with its standard input.

    python -m tests.benchmarks.scripted_server [SECONDS]

Writes its address to standard output and answers until its standard input is closed, so that it never outlives whoever
started it. Processes that no test can reach into (Dagster's runs, the command line) ask it with engine.mode = "url", in
the tokens of the starter. SECONDS: what every answer takes, so that a stage lasts long enough to be killed.
"""

import math
import random
import sys
import time

from pipelines.starter.tokenizer import EOS, MARKS, VOCABULARY, encode
from tests.assets.scripted_night import write_reply
from tests.pipelines.inference.fake_server import Reply, ok, serving

LOGPROB = -0.5  # of every token that is written
UNIFORM = -math.log(len(VOCABULARY))  # of every token that is scored
EOS_TEXT = MARKS[1]


def reply(body: dict, seconds: float = 0.0) -> Reply:
    """What a completions server says: samples of the script, or the scores of a prompt where those are asked for."""
    time.sleep(seconds)
    prompt = body["prompt"]
    usage = {"prompt_tokens": len(prompt)}
    if "prompt_logprobs" in body:
        whole = {str(token): {"logprob": UNIFORM} for token in range(len(VOCABULARY))}
        own = [whole if body["prompt_logprobs"] == -1 else {str(token): {"logprob": UNIFORM}} for token in prompt[1:]]
        scores = [None, *own]
        return ok({"choices": [{"text": "", "finish_reason": "length", "prompt_logprobs": scores}], "usage": usage})
    text = "".join(VOCABULARY[token] for token in prompt)
    seeds = [0 if body["temperature"] == 0 else number for number in range(body["n"])]
    replies = [write_reply(text, random.Random(f"{body['seed']}-{seed}")) for seed in seeds]
    return ok({"choices": [_choice(words, body) for words in replies], "usage": usage})


def _choice(words: str, body: dict) -> dict:
    ends = [words.index(stop) + len(stop) for stop in body.get("stop", ()) if stop in words]
    token_ids = encode(words[: min(ends)]) if ends else [*encode(words), EOS]
    finish_reason = "stop" if len(token_ids) <= body["max_tokens"] else "length"
    token_ids = token_ids[: body["max_tokens"]]
    text = "".join(VOCABULARY[token] for token in token_ids).removesuffix(EOS_TEXT)
    return {
        "text": text,
        "token_ids": token_ids,
        "finish_reason": finish_reason,
        "logprobs": {"token_logprobs": [LOGPROB] * len(token_ids)},
    }


def main(seconds: float = 0.0) -> None:
    """Serves until standard input ends."""
    models = ok({"data": [{"id": "starter", "max_model_len": 256}]})
    with serving(lambda body: reply(body, seconds), models) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:]))
