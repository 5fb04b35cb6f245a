"""The starter's tokenizer: one token per character, and one token for each role mark and each word it writes.

`train.save_tokenizer` writes it in plain Hugging Face format (WordLevel over a regular-expression split), so that vLLM
and transformers load it as they load any other. `encode` here is the same split in plain Python, for making training
data fast.
"""

import re

ROLES = ("<solve>", "<critique_a>", "<critique_b>", "<critique_c>", "<verify>", "<refine>")
MARKS = ("<pad>", "<eos>", *ROLES, "<review>", "<revise>", "<right>", "<wrong>", "<unk>")
WORDS = (" right", " wrong", "verdict ", " left ", " band ", " mod ", " to ", "#### ")
VOCABULARY = (*MARKS, *WORDS, "\n", *"0123456789+-*=,", " ", "#")
TOKEN_IDS = {token: index for index, token in enumerate(VOCABULARY)}
PATTERN = "|".join([re.escape(token) for token in (*MARKS, *WORDS)] + ["\\n", "."])
_TOKEN = re.compile(PATTERN)
UNKNOWN, PAD, EOS = TOKEN_IDS["<unk>"], TOKEN_IDS["<pad>"], TOKEN_IDS["<eos>"]
NEWLINE, RIGHT, WRONG = TOKEN_IDS["\n"], TOKEN_IDS["<right>"], TOKEN_IDS["<wrong>"]


def encode(text: str) -> list[int]:
    """Token ids of `text`; role marks written in the text become their one token, unknown characters `<unk>`."""
    return [TOKEN_IDS.get(token, UNKNOWN) for token in _TOKEN.findall(text)]


def decode(token_ids: list[int]) -> str:
    """Text of `token_ids`, marks such as `<eos>` left out."""
    return "".join(VOCABULARY[i] for i in token_ids if i >= len(MARKS))
