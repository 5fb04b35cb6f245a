"""Plain PyTorch on the filtered groups of a pinned version: the policy's own rollouts, kept or not by the filters.

A row has the tokens, the log-probabilities they were drawn with, and what was computed after filtering: the advantage
within the kept rollouts of its group, and the weight that makes every group count alike. The loss is PPO's:

    ratio_t = exp(log p(y_t) - behaviour log-probability_t)
    loss    = mean over rows of  loss_weight * mean over t of  -min(ratio_t A, clip(ratio_t, 1 - eps, 1 + eps) A)
"""

import time

import job
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasonmill import client


def padded(rows: list[list[float]], value: float = 0.0) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def batch_loss(model: torch.nn.Module, rows: list[dict], epsilon: float) -> torch.Tensor:
    """The loss of some rows of `rl_groups`; tokens of the prompt and padding take no part."""
    asked, given = ([row[name] for row in rows] for name in ("prompt_token_ids", "completion_token_ids"))
    tokens = padded([prompt + completion for prompt, completion in zip(asked, given, strict=True)], 0).to(model.device)
    seen = padded([[1] * len(one + two) for one, two in zip(asked, given, strict=True)]).to(model.device)
    mask = padded([[0.0] * len(one) + [1.0] * len(two) for one, two in zip(asked, given, strict=True)])[:, 1:]
    behaviour = padded([[0.0] * len(row["prompt_token_ids"]) + row["behaviour_logprobs"] for row in rows])[:, 1:]
    mask, behaviour = mask.to(model.device), behaviour.to(model.device)
    advantage = torch.tensor([[row["advantage"]] for row in rows], device=model.device)
    weight = torch.tensor([row["loss_weight"] for row in rows], device=model.device)

    logits = model(input_ids=tokens, attention_mask=seen).logits[:, :-1].float()
    logprobs = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    ratio = torch.exp((logprobs - behaviour) * mask)
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    token_loss = -torch.minimum(ratio * advantage, clipped * advantage) * mask
    return (weight * token_loss.sum(1) / mask.sum(1)).mean()


def main() -> None:
    parser = job.arguments(__doc__, learning_rate=1e-4, batch_size=32)
    parser.add_argument("--epsilon", type=float, default=0.2, help="how far a ratio counts from 1")
    args = parser.parse_args()
    version = job.pulled(args, "rl_groups")
    job.refuse_uninformative(version)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    started, losses = time.perf_counter(), []
    for batch in client.batches(version, "rl_groups", args.batch_size, seed=args.seed, num_epochs=None):
        rows = [row for row in batch.to_pylist() if row["loss_weight"] > 0.0]  # groups of one reward teach nothing
        if rows:
            loss = batch_loss(model, rows, args.epsilon)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        if len(losses) == args.steps:
            break
    model.save_pretrained(args.out)
    AutoTokenizer.from_pretrained(args.model).save_pretrained(args.out)
    job.finish(args, version, ("rl_groups",), "clipped policy gradient on rl_groups", losses, started)


if __name__ == "__main__":
    main()
