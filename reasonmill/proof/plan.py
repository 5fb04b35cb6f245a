"""What `reasonmill prove` does: arms, seeds, nights and sizes, and the order of the cells.

    filtered             the loop: trees, a critic trained on them, samples that PROF keeps and whose lowest critic
                         score is above a threshold, tree paths above it where no sample was; one solution per problem
    rejection_sampling   all right answers of the pool, as often as they were given
    random               one right answer per problem by lot, of as many problems as `filtered` has rows: a filter of
                         the same size that knows nothing of steps
    four_per_problem     as `filtered`, with up to four distinct solutions of every problem
    by_difficulty        as `filtered`, with up to four distinct solutions of a problem by how many of its samples were
                         wrong, and one of a problem that is always solved (Prop2Diff of DART-Math, arXiv 2407.13690)

The last two are run where `--arm` asks for them; the others always.
Night 1's pool of rollouts is drawn by the untrained policy once per seed, and all arms share it. Every later pool of
an arm is drawn by that arm's own policy of the night before, from the same problems with the same sizes and seeds. All
arms train on the same number of completion tokens, from the weights of their own night before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipelines.config import ConsistencyConfig, ConsistencyMethodConfig, Settings, StarterSource
from pipelines.config_models import DEFAULT_SOURCES

FILTERED, REJECTION_SAMPLING, RANDOM = "filtered", "rejection_sampling", "random"
FOUR_PER_PROBLEM, BY_DIFFICULTY = "four_per_problem", "by_difficulty"
LOOP_ARMS: Mapping[str, Mapping[str, object]] = {
    FILTERED: {"max_sft_per_problem": 1},
    FOUR_PER_PROBLEM: {"max_sft_per_problem": 4},
    BY_DIFFICULTY: {"max_sft_per_problem": 4, "sft_per_problem": "difficulty"},
}
"""Arms that go through the loop, and what distinguishes their training sets."""
USUAL_ARMS = (FILTERED, REJECTION_SAMPLING, RANDOM)
ARMS = (*USUAL_ARMS, FOUR_PER_PROBLEM, BY_DIFFICULTY)
BASE = "base"  # the arm of the untrained policy, night 0
PATIENCE_S = 1800.0  # an experiment of hours waits for its engine on a busy machine, and an answer is not given up
SOURCES = tuple(StarterSource(family=family, count=600) for family in ("arithmetic", "dial", "countdown"))
"""Training problems where the configuration names none of its own: as many of every family."""


@dataclass(frozen=True)
class Plan:
    """Sizes of an experiment. A folder of results belongs to one plan."""

    num_seeds: int = 3
    num_nights: int = 3
    arms: tuple[str, ...] = USUAL_ARMS
    num_search_problems: int = 200  # training problems with a tree, per night
    num_sample_problems: int = 400  # training problems with a group of samples, per night
    group_size: int = 8
    critic_steps: int = 120
    threshold: float = 0.5  # lowest critic score of a step that the filtered arm trains on
    num_training_tokens: int = 60_000  # completion tokens per night, the same for every arm
    learning_rate: float = 1e-3
    keep_weight: float = 1.0
    num_evaluation_problems: int = 120  # of every family, as far as it has so many
    num_evaluation_samples: int = 16
    num_judged_samples: int = 200  # evaluation samples whose steps the policy itself judges
    num_bootstrap: int = 2000


QUICK = Plan(
    num_seeds=1,
    num_search_problems=80,
    num_sample_problems=160,
    critic_steps=80,
    num_training_tokens=50_000,
    num_evaluation_problems=80,
    num_judged_samples=120,
)


@dataclass(frozen=True, order=True)
class Cell:
    """One policy: the arm that trained it, its seed and its night; night 0 is the untrained policy."""

    arm: str
    seed: int
    night: int

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}-night{self.night}"

    @property
    def label(self) -> str:
        """The night as a partition of the lake and part of a version's name."""
        return f"night-{self.night}"

    def before(self) -> "Cell":
        """The cell whose policy draws this one's pool and is trained further."""
        return Cell(self.arm, self.seed, self.night - 1) if self.night > 1 else Cell(BASE, self.seed, 0)


def cells(plan: Plan) -> Iterator[Cell]:
    """In the order of the work: every seed's untrained policy, then per seed all nights of one arm after another.

    `filtered` comes first: `random` needs to know how many rows it had.
    """
    yield from (Cell(BASE, seed, 0) for seed in range(plan.num_seeds))
    for seed in range(plan.num_seeds):
        for arm in sorted(plan.arms, key=ARMS.index):
            yield from (Cell(arm, seed, night) for night in range(1, plan.num_nights + 1))


def settings_of(settings: Settings, plan: Plan, seed: int, arm: str = FILTERED) -> Settings:
    """The configuration with the experiment's sizes and this seed, for problems, rollouts, critic and evaluation.

    The training sets are those of `arm`; arms outside the loop (LOOP_ARMS) do not read them.
    """

    def updated(section: str, **values: object) -> object:
        return getattr(settings, section).model_copy(update=values)

    sources = SOURCES if settings.problems.sources == DEFAULT_SOURCES else settings.problems.sources
    return settings.model_copy(
        update={
            "problems": updated("problems", seed=seed, sources=sources),
            "rollouts": updated(
                "rollouts", seed=seed, num_search_problems=plan.num_search_problems,
                num_sample_problems=plan.num_sample_problems, group_size=plan.group_size, guided=False,
            ),
            "process_critic": updated(
                "process_critic", seed=seed, steps=plan.critic_steps, eval_every=max(1, plan.critic_steps // 4)
            ),
            "training_sets": updated(
                "training_sets", sft_from=("consistent_rollouts", "search"), min_step_score=plan.threshold,
                **LOOP_ARMS.get(arm, {}),
            ),
            "consistency": consistency_of(plan),
            "publishing": updated("publishing", keep=1000),
            "engine": updated(
                "engine", start_timeout_s=max(settings.engine.start_timeout_s, PATIENCE_S),
                request_timeout_s=max(settings.engine.request_timeout_s, PATIENCE_S),
            ),
        }
    )  # fmt: skip


def consistency_of(plan: Plan) -> ConsistencyConfig:
    """PROF alone, half of every group; what the critic doubts of the rest stays out of `sft` by `min_step_score`."""
    prof = ConsistencyMethodConfig(name="prof", parameters={"num_removed": plan.group_size // 2})
    return ConsistencyConfig(methods=(prof,), use=("prof",))
