"""On-policy GRPO on the prompts of a pinned version, with TRL: its own rollouts, rewarded by the reference answer.

The reward compares the last `#### answer`. That grades chains by their answer; a family whose answer is given away by
the prompt (countdown: the target) needs a grader of its steps and is left out by --families.
"""

import job
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from reasonmill import client


def is_right(completions: list[str], reference_answer: list[str], **columns: list) -> list[float]:
    """1 where the last `#### answer` is the reference answer, else 0."""
    found = [text.rpartition("####")[2].strip() if "####" in text else None for text in completions]
    return [float(answer == reference) for answer, reference in zip(found, reference_answer, strict=True)]


def main() -> None:
    parser = job.arguments(__doc__, learning_rate=1e-4, batch_size=32, steps=20)
    parser.add_argument("--group-size", type=int, default=8, help="rollouts per prompt")
    parser.add_argument("--max-tokens", type=int, default=96, help="of a completion")
    parser.add_argument("--families", nargs="*", default=["arithmetic", "dial"], help="none: all")
    args = parser.parse_args()
    version = job.pulled(args, "prompts")
    prompts = client.load(version, "prompts")
    if args.families:
        prompts = prompts.filter(lambda row: row["family"] in args.families)
    config = GRPOConfig(
        num_generations=args.group_size, max_completion_length=args.max_tokens, temperature=1.0, top_p=1.0, top_k=0,
        **job.trainer_settings(args),
    )  # fmt: skip
    trainer = GRPOTrainer(
        args.model, is_right, args=config, train_dataset=prompts,
        processing_class=AutoTokenizer.from_pretrained(args.model),
    )  # fmt: skip
    job.train(trainer, args, version, ("prompts",), "GRPO")
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    few = min(5, len(rewards))
    first, last = sum(rewards[:few]) / few, sum(rewards[-few:]) / few
    print(f"mean reward of the first and the last {few} steps: {first:.3f}, {last:.3f}")


if __name__ == "__main__":
    main()
