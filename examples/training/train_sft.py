"""Supervised fine-tuning on a pinned version, with TRL: right solutions, the loss on the completion alone."""

import job
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from reasonmill import client


def main() -> None:
    parser = job.arguments(__doc__, learning_rate=2e-4)
    parser.add_argument("--loss", choices=("nll", "dft"), default="nll", help="dft: a token weighs its own probability")
    args = parser.parse_args()
    version = job.pulled(args, "sft")
    trainer = SFTTrainer(
        args.model,
        args=SFTConfig(loss_type=args.loss, **job.trainer_settings(args)),
        train_dataset=client.load(version, "sft"),
        processing_class=AutoTokenizer.from_pretrained(args.model),
    )
    job.train(trainer, args, version, ("sft",), f"SFT ({args.loss})")


if __name__ == "__main__":
    main()
