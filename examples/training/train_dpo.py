"""Preference optimisation on a pinned version, with TRL's DPO.

TRL appends the end token to both sides of a pair, also where they are single steps after which the solution goes on.
--method keeps the pairs of some methods alone (whole solutions: rollout_pairs); the starter's are told at the start.
"""

from collections import Counter

import job
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

from reasonmill import client


def main() -> None:
    parser = job.arguments(__doc__, learning_rate=1e-4)
    parser.add_argument("--beta", type=float, default=0.1, help="how dear it is to leave the reference policy")
    parser.add_argument(
        "--method", nargs="*", default=["rollout_pairs"], help="methods whose pairs are used; none: all"
    )
    parser.add_argument("--wpo", action="store_true", help="weigh pairs by how likely the policy finds both sides")
    args = parser.parse_args()
    version = job.pulled(args, "preference")
    pairs = client.load(version, "preference")
    print(f"pairs by method: {dict(Counter(pairs['method']))}")
    if args.method:
        pairs = pairs.filter(lambda row: row["method"] in args.method)
    trainer = DPOTrainer(
        args.model,
        args=DPOConfig(beta=args.beta, use_weighting=args.wpo, **job.trainer_settings(args)),
        train_dataset=pairs,
        processing_class=AutoTokenizer.from_pretrained(args.model),
    )
    job.train(trainer, args, version, ("preference",), f"DPO (beta {args.beta:g})")


if __name__ == "__main__":
    main()
