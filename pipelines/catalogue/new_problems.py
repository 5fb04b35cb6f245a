"""Methods by which the policy poses new problems."""

from pipelines.catalogue.method import Method
from pipelines.posing.methods import METHODS as POSING


def _posing(name: str, paper: str, arxiv: str, summary: str, query: str | None, measured: str | None = None) -> Method:
    """A method of `[[new_problems.methods]]`."""
    return Method(
        name=name, paper=paper, arxiv=arxiv, summary=summary, reads=("problems", "rollouts"),
        writes=("new_problems",), params=POSING[name].params, function="pipelines.new_problems.pose_problems",
        query=query, measured=measured,
    )  # fmt: skip


METHODS = (
    _posing(
        "tt_si",
        "Self-Improving LLM Agents at Test-Time (TT-SI)",
        "2510.07841",
        "Problems whose two likeliest answers are close get new, similar ones: the paper's published margin, with the "
        "shares of samples for likelihoods and the threshold as remembered. Test-time training is left to trainers; "
        "grades after RePro (2510.10681) are ours: answerable and faithful, by rule or by the policy.",
        "new_problems/uncertain_problems",
        "demo lake (one night, 400 groups of 8), starter on vLLM, 100 most uncertain problems x 4: 151 of 400 kept; "
        "gone: 85 unfaithful, 62 unanswerable (all Countdown), 59 repeated, 43 held out; arithmetic 109 of 208 kept, "
        "dial 42 of 100, Countdown 0 of 92",
    ),
    _posing(
        "imagination",
        "Toward Self-Improvement of LLMs via Imagination, Searching, and Criticizing (AlphaLLM)",
        "2404.12253",
        "The policy imagines new problems from existing ones; the paper leaves the transformation open, so prompts and "
        "grades are ours, from its published description. Its search and critics stand under `alphallm`.",
        None,
        "demo lake, starter on vLLM, 100 training problems x 4: 141 of 400 kept; gone: 159 unfaithful, 40 repeated, 34 "
        "held out, 26 unanswerable (all Countdown); arithmetic 89 of 232 kept, dial 51 of 112, Countdown 1 of 56",
    ),
)
