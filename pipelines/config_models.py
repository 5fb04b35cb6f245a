"""What can be configured: one frozen model per section of `reasonmill.toml`, with bounds and meaning.

The models know nothing of files; `pipelines.config` reads the file and re-exports every name here.
Each model works alone with its defaults (`RolloutsConfig()`), and the defaults are the small scale
of the demonstration. Field descriptions are what `reasonmill config init` prints above each key.
"""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)


class Section(BaseModel):
    """A part of the configuration: immutable, without unknown keys, without infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=80)]
Owner = Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]
PLUGIN_PATTERN = r"^[^:]+(\.py)?:[A-Za-z_][A-Za-z0-9_]*$"
ParameterValue = StrictBool | StrictInt | StrictFloat | StrictStr | tuple[StrictStr, ...]
ServerUrl = Annotated[str, Field(pattern=r"^https?://")]
PluginPath = Annotated[str, Field(pattern=PLUGIN_PATTERN, description="file.py:function, relative to the workspace")]


class PathsConfig(Section):
    """Where things lie; relative paths start at the workspace folder, the folder of the toml file."""

    lake: str = Field("lake", min_length=1, description="folder or fsspec URL of the Parquet tables")
    datasets: str = Field(
        "datasets", min_length=1, description="folder or fsspec URL of the published dataset versions"
    )
    checkpoints: str = Field("checkpoints", min_length=1, description="folder of the trained critics")
    responses: str = Field("responses", min_length=1, description="folder of the response store")
    state: str = Field("state", min_length=1, description="folder for engine state files, locks and logs")


class StarterSource(Section):
    """Problems of the built-in generator, with exact gold labels for every step."""

    kind: Literal["starter"] = Field("starter", description="problems made by the built-in generator")
    family: Literal["arithmetic", "dial", "countdown"] = Field("arithmetic", description="problem family")
    level: int = Field(2, ge=1, le=4, description="difficulty level, 1 is the easiest")
    count: int = Field(600, ge=1, le=10_000_000, description="number of problems")
    dial_choices: int = Field(
        4, ge=2, le=10, description="m of the dial family: a wrong chain is right by luck about 1/m of the time"
    )


class FileSource(Section):
    """Problems from a file of the user's; GSM8K's own layout works without any field name."""

    kind: Literal["jsonl", "parquet"] = Field(description="format of the file; .gz is unpacked for jsonl")
    path: str = Field(min_length=1, description="file, relative to the workspace")
    name: Name | None = Field(None, description="family name of these problems; default: the file's name")
    prompt_field: str = Field("question", min_length=1, description="field with the statement")
    answer_field: str = Field(
        "answer", min_length=1, description="field with the answer; text before `####` is dropped"
    )
    id_field: str | None = Field(None, description="field with an id of yours; default: an id from the content")
    difficulty_field: str | None = Field(None, description="field with an integer difficulty")
    grader: Name = Field("number", description="number, exact, math, countdown or a grader of yours")
    limit: int | None = Field(None, ge=1, description="read only the first so many problems")


class PluginSource(Section):
    """Problems from a function of the user's that yields dicts with `prompt` and `reference_answer`."""

    kind: Literal["plugin"] = Field(description="problems from Python code of yours")
    path: str = Field(min_length=1, description="my_source.py:problems in the workspace, or an entry point's name")
    name: Name = Field(description="family name of these problems")
    grader: Name = Field("number", description="number, exact, math, countdown or a grader of yours")
    limit: int | None = Field(None, ge=1, description="take only the first so many problems")


class MadeSource(Section):
    """Problems that the policy posed on earlier nights and that passed all tests (section new_problems)."""

    kind: Literal["new_problems"] = Field(description="kept rows of the table new_problems")
    methods: tuple[Name, ...] = Field((), description="take only what these methods made; empty: all")


SourceConfig = Annotated[StarterSource | FileSource | PluginSource | MadeSource, Field(discriminator="kind")]

DEFAULT_SOURCES = (
    StarterSource(family="arithmetic", count=1000),
    StarterSource(family="dial", count=600),
    StarterSource(family="countdown", count=200),
)


class ProblemsConfig(Section):
    """Where problems come from and how they are split."""

    sources: tuple[SourceConfig, ...] = Field(
        DEFAULT_SOURCES,
        min_length=1,
        description="the problem sources, one [[problems.sources]] table each; kind: starter, jsonl, parquet, plugin, "
        "or new_problems for what the policy posed on other nights",
    )
    held_out_fraction: float = Field(
        0.2, ge=0.0, le=0.9, description="share of your own sources' problems that is never trained on"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of generated problems")

    @model_validator(mode="after")
    def _problems_to_begin_with(self) -> "ProblemsConfig":
        if all(isinstance(source, MadeSource) for source in self.sources):
            raise ValueError('sources of the kind "new_problems" alone give nothing to begin with; add another source')
        return self


class PolicyConfig(Section):
    """The model that explores, criticises and refines."""

    model: str = Field("starter", min_length=1, description='"starter", a model folder or a hub id')
    prompt_style: Literal["starter", "plain", "chat"] = Field(
        "starter", description="starter: control tokens; plain: completion prompts; chat: the model's chat template"
    )
    max_model_len: int = Field(512, ge=64, le=1_048_576, description="longest prompt plus completion, in tokens")


class EngineConfig(Section):
    """How the model is served."""

    mode: Literal["server", "url", "ray", "in_process"] = Field(
        "server",
        description="server: vLLM of the run's own; url: OpenAI-compatible servers of yours; ray: vLLM on the "
        "machines of a Ray cluster; in_process",
    )
    url: str | None = Field(
        None, pattern=r"^https?://", description="base URL for mode = url, such as http://host:8000/v1"
    )
    urls: tuple[ServerUrl, ...] = Field(
        (),
        description="instead of url: several servers of the same model; in the response store it is named by "
        "the first, and by the files of policy.model: replace those with the weights that are served",
    )
    num_workers: int = Field(
        1, ge=1, le=1024, description="engines to start in mode = server or ray, each with GPUs of its own"
    )
    ray_address: str | None = Field(
        None, description="Ray cluster to use; default: the one that runs here, else one is started for this process"
    )
    ray_num_cpus: float = Field(1.0, ge=0.0, le=4096.0, description="CPU cores that one Ray worker claims")
    served_model_name: str | None = Field(
        None, description="name of the policy at the server of mode = url; default: policy.model"
    )
    api_key_env: str | None = Field(
        None, description="name of the environment variable with the API key for mode = url"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: float32 on CPU")
    max_num_seqs: int = Field(256, ge=1, le=65_536, description="sequences that the engine runs at once")
    max_in_flight: int = Field(
        512, ge=1, le=65_536, description="samples asked for at once, per engine, at most; fewer while it is overloaded"
    )
    max_tokens_in_flight: int | None = Field(
        None, ge=1, description="prompt and completion tokens asked for at once, per engine, at most; default: any"
    )
    kv_cache_gib: float = Field(1.0, gt=0.0, le=4096.0, description="CPU only: GiB of key-value cache")
    tensor_parallel_size: int = Field(1, ge=1, le=64, description="GPUs that share one model")
    data_parallel_size: int = Field(
        1, ge=1, le=64, description="engines behind one address, each with tensor_parallel_size GPUs of its own"
    )
    gpu_memory_share: float = Field(0.45, gt=0.0, le=1.0, description="share of GPU memory for one engine")
    start_timeout_s: float = Field(300.0, ge=1.0, le=7200.0, description="seconds to wait for the engine's start")
    request_timeout_s: float = Field(120.0, ge=0.1, le=86_400.0, description="seconds to wait for one answer")
    stall_timeout_s: float | None = Field(
        None,
        ge=0.1,
        le=86_400.0,
        description="seconds of silence (no answer, and no token counted at /metrics) with requests in flight after "
        "which an engine is given up and restarted; default: half of request_timeout_s; a server without vLLM's "
        "counters at /metrics is given request_timeout_s where that is longer",
    )
    idle_timeout_s: float = Field(900.0, ge=1.0, le=86_400.0, description="an engine that nobody asks stops after this")
    max_error_fraction: float = Field(0.02, ge=0.0, le=1.0, description="a stage fails above this share of errors")
    extra_args: tuple[str, ...] = Field((), description="further vLLM server arguments, passed on as they are")

    @model_validator(mode="after")
    def _url_where_needed(self) -> "EngineConfig":
        if self.url is not None and self.urls:
            raise ValueError("`url` and `urls` are both set; give one server as `url` or all of them as `urls`")
        if self.mode == "url" and self.url is None and not self.urls:
            raise ValueError('mode = "url" needs the key `url` beside it, or `urls` for several servers')
        repeated = sorted(address for address, count in Counter(self.addresses).items() if count > 1)
        if repeated:
            raise ValueError(f"`urls` names {repeated[0]} more than once; every server once")
        if self.num_workers > 1 and self.mode not in ("server", "ray"):
            raise ValueError(f'num_workers = {self.num_workers} needs mode = "server" or "ray", not "{self.mode}"')
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers of mode = url, without /v1."""
        given = self.urls or ((self.url,) if self.url is not None else ())
        return tuple(url.rstrip("/").removesuffix("/v1") for url in given)


class StrategyConfig(Section):
    """One way of going about a problem, which the recipe `strategy_first` chooses before the first step."""

    name: Name = Field(description="name of the strategy in `search_nodes.action`, behind `strategy:`")
    instruction: str = Field("", description="text that follows the statement in the prompt; not for the starter style")
    temperature: float | None = Field(
        None, gt=0.0, le=10.0, description="sampling temperature of its steps; default: rollouts.temperature"
    )
    top_p: float | None = Field(None, gt=0.0, le=1.0, description="nucleus of its steps; default: rollouts.top_p")


class RolloutsConfig(Section):
    """Tree search and independent samples."""

    recipe: Name = Field("puct", description="search recipe: one that `reasonmill recipes` lists, or one of yours")
    num_search_problems: int = Field(400, ge=0, description="training problems searched per night")
    num_simulations: int = Field(8, ge=1, le=100_000, description="simulations per tree; a beam's are rounds")
    allocation: Literal["uniform", "knapsack"] = Field(
        "uniform",
        description="simulations per tree: all the same, or by how often earlier nights solved the problem, with "
        "num_simulations on average",
    )
    min_simulations: int = Field(2, ge=1, le=100_000, description="knapsack: simulations of any tree, at least")
    max_simulations: int | None = Field(
        None, ge=1, le=1_000_000, description="knapsack: simulations of any tree, at most; default: 4 x num_simulations"
    )
    oversample: float = Field(
        1.0,
        ge=1.0,
        le=100.0,
        description="problems drawn per problem searched: a tree without both right and wrong answers is replaced",
    )
    stop_when_settled: bool = Field(
        False,
        description="a tree ends when nearly all of its steps lead to right answers, or nearly none (95 %: 9 of 10)",
    )
    max_total_tokens: int | None = Field(
        None,
        ge=1,
        description="prompt and completion tokens of search and samples per run, answers that the response store "
        "replays included, so that a run that was killed goes on with what it had left; default: no limit",
    )
    guided: bool = Field(False, description="search with the current critic instead of graded completions")
    guide_on: Literal["torch", "engine"] = Field(
        "torch",
        description='guided: "torch" scores in the step\'s own process, "engine" on vLLM, one engine per critic',
    )
    unguided_share: float = Field(
        0.1, ge=0.0, le=1.0, description="guided: share of the problems that is searched without the critic"
    )
    trees_in_flight: int = Field(
        256,
        ge=1,
        le=65_536,
        description="trees searched at once; fewer take less memory, more keep an engine busy whose trees are narrow",
    )
    simulations_in_flight: int = Field(
        1,
        ge=1,
        le=4096,
        description="simulations at once in one tree, of recipes that descend by visits; 1 is exactly sequential and "
        "reproducible. Raise it, to 4 or 8, where few large trees leave the engine idle; where there are many "
        "trees it gains nothing, and with more than 1 a tree depends on the order of the answers",
    )
    num_candidates: int = Field(
        8,
        ge=1,
        le=64,
        description="steps proposed per expansion, or whole solutions sampled per request",
    )
    exploration: float | None = Field(
        None, ge=0.0, le=100.0, description="weight of the bonus for few visits; 0 is greedy; default: the recipe's own"
    )
    beam_width: int | None = Field(
        None, ge=1, le=1024, description="paths or subtrees that a beam keeps; default: the recipe's own"
    )
    parameters: dict[Name, ParameterValue] = Field(
        {}, description="the recipe's own parameters, as `reasonmill recipes` lists them"
    )
    strategies: tuple[StrategyConfig, ...] = Field(
        (),
        description=(
            "what the recipe strategy_first chooses from, one [[rollouts.strategies]] table each with `name` and any "
            "of `instruction`, `temperature`, `top_p`; default: three temperatures for the starter style, else "
            "step_by_step, decompose and work_backwards"
        ),
    )
    max_depth: int = Field(12, ge=1, le=1000, description="steps on the longest path")
    step_max_tokens: int = Field(32, ge=1, le=65_536, description="tokens per step")
    temperature: float = Field(1.0, ge=0.0, le=10.0, description="sampling temperature of search and samples")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="nucleus of search and samples")
    num_evaluations: int = Field(4, ge=1, le=256, description="graded completions that value a leaf")
    num_sample_problems: int = Field(400, ge=0, description="training problems sampled per night")
    group_size: int = Field(8, ge=1, le=4096, description="independent samples per problem")
    max_tokens: int = Field(128, ge=1, le=1_048_576, description="tokens per completion")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of search and samples")

    @model_validator(mode="after")
    def _distinct_strategies(self) -> "RolloutsConfig":
        names = [strategy.name for strategy in self.strategies]
        if len(set(names)) < len(names):
            raise ValueError(f"strategies must have different names, these are {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _bounds_hold_the_average(self) -> "RolloutsConfig":
        if self.allocation == "knapsack":
            low, average, high = self.min_simulations, self.num_simulations, self.max_simulations
            if low > average or (high is not None and high < average):
                raise ValueError(
                    f'allocation = "knapsack" needs min_simulations <= num_simulations <= max_simulations, these are '
                    f"{low}, {average} and {high}"
                )
        return self


class RetrievalConfig(Section):
    """The corpus in which the recipe retrieval_planner looks things up."""

    corpus: str | None = Field(
        None, min_length=1, description="a .jsonl file with the fields id and text, or a folder with .txt files"
    )
    num_documents: int = Field(4, ge=1, le=64, description="documents found for a query, at most")
    max_document_chars: int = Field(800, ge=1, le=100_000, description="characters of a document that are read")
    max_corpus_chars: int = Field(200_000_000, ge=1, description="a larger corpus is refused; it is held in memory")
    k1: float = Field(1.5, ge=0.0, le=100.0, description="BM25: how much repetition of a term counts")
    b: float = Field(0.75, ge=0.0, le=1.0, description="BM25: how much a document's length counts")
    query_mark: str = Field("Search: ", min_length=1, description="what a line with a query begins with")
    document_mark: str = Field("Found: ", min_length=1, description="what a line with a document begins with")
    instruction: str = Field(
        'A line that begins with "Search: " looks something up; the line after it begins with "Found: ".',
        description="text that follows the statement in the prompt; not for the starter style",
    )

    @model_validator(mode="after")
    def _marks_on_one_line(self) -> "RetrievalConfig":
        for name in ("query_mark", "document_mark"):
            mark = getattr(self, name)
            if "\n" in mark or not mark.strip():
                raise ValueError(f"{name} = {mark!r} must be text on one line")
        return self


class AgentConfig(Section):
    """One agent that criticises rollouts."""

    name: Name = Field(description="starter: critique_a, critique_b or critique_c; otherwise any name")
    role_prompt: str = Field("", description="plain and chat styles: what this agent looks for")
    weight: float = Field(1.0, gt=0.0, le=1000.0, description="weight of its vote in the verdict")
    temperature: float | None = Field(
        None, ge=0.0, le=10.0, description="its own sampling temperature; default: that of the section"
    )


class AgentMethodConfig(Section):
    """One method by which agents criticise."""

    method: Name = Field(description="a method of agents, by its name in the catalogue")
    num_rollouts: int = Field(
        400, ge=0, description="samples that it looks at, at most; whole groups. multi_critique: see num_rollouts above"
    )
    parameters: dict[Name, ParameterValue] = Field({}, description="the method's own parameters")


STARTER_AGENTS = (
    AgentConfig(name="critique_a", role_prompt="Check every calculation."),
    AgentConfig(name="critique_b", role_prompt="Check that each step follows from the problem and the steps before."),
    AgentConfig(name="critique_c", role_prompt="Check that the final answer is what was asked for."),
)


class CritiquesConfig(Section):
    """Agents that criticise sampled rollouts, the verdict, and refinements."""

    agents: tuple[AgentConfig, ...] = Field(
        STARTER_AGENTS, min_length=1, description="the agents, one [[critiques.agents]] table each"
    )
    temperature: float = Field(0.7, ge=0.0, le=10.0, description="sampling temperature of critiques and refinements")
    max_tokens: int = Field(192, ge=1, le=1_048_576, description="tokens per critique or refinement")
    num_rollouts: int = Field(3200, ge=0, description="independent samples criticised per night, at most")
    structured: bool = Field(
        False, description="have the engine's grammar enforce the form of critiques; the engine must be vLLM"
    )
    crucial_information: Literal["configured", "model"] = Field(
        "configured", description="who writes task and criteria for the agents; model: one more request per rollout"
    )
    criteria: tuple[str, ...] = Field(
        ("calculation", "reasoning", "answer"), description="plain and chat styles: what agents judge by"
    )
    show_reference: bool = Field(False, description="plain and chat styles: agents see the reference answer")
    meta_critique: Literal["peers", "model"] = Field(
        "peers", description="who judges each flaw that an agent found: the other agents' verdicts, or one more request"
    )
    refine: bool = Field(True, description="write and grade a refinement after each critical verdict")
    refinements_per_critique: int = Field(
        0, ge=0, le=64, description="refinements after every single critique too, for pairs of critiques (MARV)"
    )
    methods: tuple[AgentMethodConfig, ...] = Field(
        (AgentMethodConfig(method="multi_critique"), AgentMethodConfig(method="unary_feedback")),
        description="the methods, one [[critiques.methods]] table each; all but multi_critique write critique_records; "
        "expo and egsr explain what no sample has solved (training_sets.sft_from)",
    )
    wrong_threshold: float = Field(
        0.5, gt=0.0, le=1.0, description="weighted share of agents that must say wrong for the verdict wrong"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of critiques and refinements")

    @model_validator(mode="after")
    def _distinct_agents(self) -> "CritiquesConfig":
        names = [agent.name for agent in self.agents]
        if len(set(names)) < len(names):
            raise ValueError(f"agents must have different names, these are {', '.join(names)}")
        methods = [one.method for one in self.methods]
        if len(set(methods)) < len(methods):
            raise ValueError(f"methods must differ, these are {', '.join(methods)}")
        return self


HeadName = Literal[
    "bce", "mse", "gce", "attributes", "hl_gauss", "two_hot", "quantile", "iqn", "beta", "grades", "outcome_classes"
]  # fmt: skip
LabelName = Literal[
    "relative", "monte_carlo", "stepwise_outcome", "outcome", "outcome_bag", "advantage", "siblings", "td_lambda",
    "rest_mcts", "beta_quantiles", "judge", "consensus", "votes", "formal", "outcome_classes", "preference_pairs",
    "human", "policy_shift",
]  # fmt: skip


class CriticConfig(Section):
    """Training of the process critic on the values of the trees, and who scores with it."""

    kind: Literal["trained", "generative"] = Field(
        "trained",
        description="who scores for the filters and the report and guides the search: the current trained critic, or "
        "the language model of [generative_critic], whose scores have the source judge (consistency.source); training "
        "goes on either way",
    )
    labels: LabelName = Field("relative", description="what a step is said to be worth, and by whom")
    reviewed_weight: float = Field(
        1.0,
        ge=0.0,
        le=1000.0,
        description="weight of solutions that people reviewed (human_labels) beside `labels`, where those are of "
        "steps; of a solution that both label, people's word counts; 0 = it is not used",
    )
    head: HeadName = Field("bce", description="how a value is represented")
    read_at: Literal["step_end", "every_token"] = Field(
        "step_end", description="where values are learned; every_token: also inside a step, the step's own label"
    )
    attributes: tuple[LabelName, ...] = Field(
        (), max_length=10, description="labels that the head attributes learns beside `labels`"
    )
    ensemble: tuple[HeadName, ...] = Field((), max_length=20, description="heads side by side; empty: `head` alone")
    pooling: Literal["mean", "min", "truncated", "quantiles"] = Field(
        "mean", description="how an ensemble's opinions become one; quantiles: weighted mean of quantile functions"
    )
    member_weights: tuple[float, ...] = Field(
        (), max_length=20, description="weight of each member of the ensemble for pooling = quantiles; empty: all alike"
    )
    dropped: float = Field(0.08, ge=0.0, le=0.9, description="highest share of the belief that truncated pooling drops")
    num_bins: int = Field(51, ge=6, le=1001, description="bins of hl_gauss and two_hot")
    num_quantiles: int = Field(25, ge=2, le=1001, description="quantiles of the heads quantile and iqn")
    num_grades: int = Field(5, ge=2, le=101, description="grades of the head of that name")
    read_off: Literal["mean", "quantile", "cvar"] = Field("mean", description="what of a belief is the score")
    risk_level: float = Field(0.1, gt=0.0, le=1.0, description="level of the quantile, share of the CVaR")
    value_weight: float = Field(1.0, ge=0.0, le=1000.0, description="weight of node values in the loss")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="share of labels taken for a coin's")
    pair_loss: Literal["scaled", "plain", "margin"] = Field("scaled", description="what a pair's strength does")
    bag_pooling: Literal["min", "product", "soft_min"] = Field("min", description="steps to rollout, for outcome_bag")
    steps: int = Field(200, ge=1, le=10_000_000, description="optimiser steps, at most")
    batch_size: int = Field(64, ge=1, le=65_536, description="examples per optimiser step")
    learning_rate: float = Field(3e-4, gt=0.0, le=1.0, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0.0, le=1.0, description="weight decay of AdamW")
    contrast_weight: float = Field(  # measured: with 1.0 worse on every setting of tests/benchmarks/results/heads.md
        0.0,
        ge=0.0,
        le=1000.0,
        description="weight of sibling contrasts beside values; where it is 0, labels that are pairs count with 1",
    )
    anchor_weight: float = Field(
        0.1, ge=0.0, le=1000.0, description="pull towards the initial critic's verdicts; 0 = none"
    )
    num_folds: int = Field(2, ge=2, le=20, description="critics on night 0; each scores problems it has not seen")
    validation_fraction: float = Field(0.1, ge=0.0, le=0.5, description="share of problems that decides when to stop")
    eval_every: int = Field(50, ge=1, description="optimiser steps between validations")
    patience: int = Field(4, ge=1, description="validations without improvement before stopping")
    init: str = Field("policy", min_length=1, description='"policy" (its critique role) or a checkpoint folder')
    packing: Literal["chunks", "flex", "off"] = Field(
        "chunks", description='"chunks": prefixes that paths share are computed once; "flex": so too, GPU only; "off"'
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description='of the forward pass in training; "auto": bfloat16 on a GPU, float32 on the CPU'
    )
    gradient_checkpointing: bool = Field(False, description="compute layers twice to need less memory")
    lora_rank: int = Field(
        0, ge=0, le=1024, description="train adapters of this rank and the head only (needs peft); 0 = all weights"
    )
    num_processes: int = Field(
        1, ge=1, le=1024, description="processes that train a critic together, each on its share of a batch: GPUs, or 1"
    )
    sharded: bool = Field(
        False, description="with several processes: weights, gradients and optimiser state are sharded (FSDP)"
    )
    max_cut_share: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="share of labelled steps, beyond the context or with characters that the "
        "tokenizer does not know, above which training is an error",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of initialisation and order")
    calibration: Literal["none", "temperature", "isotonic"] = Field(
        "none", description="map of the scores in `step_scores`, fitted on training's validation problems"
    )

    @model_validator(mode="after")
    def _weights_are_of_the_members(self) -> "CriticConfig":
        weights = self.member_weights
        if weights and (self.pooling != "quantiles" or len(weights) != len(self.ensemble)):
            raise ValueError(
                f"member_weights has {len(weights)} numbers for {len(self.ensemble)} members of `ensemble` and "
                f'pooling = "{self.pooling}"; give pooling = "quantiles" and one per member, or none'
            )
        if weights and (min(weights) < 0 or not 0 < sum(weights) < float("inf")):
            raise ValueError(f"member_weights = {list(weights)}: each must be at least 0, and not all 0")
        return self

    @model_validator(mode="after")
    def _attributes_have_their_head(self) -> "CriticConfig":
        has_head = "attributes" in (self.ensemble or (self.head,))
        if bool(self.attributes) != has_head:
            raise ValueError('`attributes` and head = "attributes" belong together: name both, or neither')
        return self


class CloudCriticConfig(Section):
    """A critic that writes a critique before it scores (CLoud), trained by `reasonmill critic train-cloud`."""

    init: str = Field("policy", min_length=1, description='"policy" (its critique role) or a model folder')
    reward_loss: Literal["pairs", "outcome"] = Field(
        "pairs", description="pairs: right above wrong rollouts of a problem; outcome: cross-entropy with the grade"
    )
    lm_weight: float = Field(1.25, ge=0.0, le=1000.0, description="weight of the critiques' language loss")
    sft_steps: int = Field(100, ge=0, le=10_000_000, description="steps on the agents' critiques, before its own")
    steps: int = Field(200, ge=1, le=10_000_000, description="steps of the joint loss, on its own critiques")
    batch_size: int = Field(64, ge=2, le=65_536, description="rollouts per step; whole problems")
    learning_rate: float = Field(3e-4, gt=0.0, le=1.0, description="peak learning rate; 1e-6 for 8B in the paper")
    weight_decay: float = Field(0.01, ge=0.0, le=1.0, description="weight decay of AdamW")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout of the reward head")
    validation_fraction: float = Field(0.1, ge=0.0, le=0.5, description="share of problems that decides what is kept")
    eval_every: int = Field(50, ge=1, description="steps between validations and saved states")
    num_critiques: int = Field(
        1,
        ge=0,
        le=1024,
        description="critiques per scored solution: 1 greedy, or the mean reward of several samples; 0 in training and "
        "scoring: none, a plain reward model without language loss, to compare with",
    )
    temperature: float = Field(1.0, gt=0.0, le=10.0, description="of sampled critiques")
    max_tokens: int = Field(192, ge=1, le=1_048_576, description="tokens per critique")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of head, order, dropout and samples")


class GenerativeCriticConfig(Section):
    """A language model that judges steps by its log-probabilities of two verdicts (`process_critic.kind`)."""

    model: str = Field(
        "policy", min_length=1, description='who judges: "policy", "starter", a model folder or a hub id'
    )
    verdict_tokens: tuple[str, str] = Field(
        ("<right>", "<wrong>"), description="the two verdicts, each one token of the model, such as Yes and No"
    )
    question: str = Field("", description="asked between a step and its verdict; empty: the verdict stands in place")
    num_rationales: int = Field(
        0, ge=0, le=1024, description="critiques sampled per solution, whose verdicts are averaged; 0: asked directly"
    )
    temperature: float = Field(1.0, ge=0.0, le=10.0, description="sampling temperature of these critiques")
    max_tokens: int = Field(192, ge=1, le=1_048_576, description="tokens per critique")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of these critiques")


class PromotionConfig(Section):
    """When tonight's critic becomes the current one, which guides the search and scores for the filters."""

    margin: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="held when it ranks worse than the current one, beyond doubt (95 %), by more than this: AUROC "
        "within problems, on the frozen evaluation problems and on trees that no critic guided",
    )
    max_drift: float = Field(
        1.0,  # measured on the starter: 0.05 between critics trained alike, 4.4 between one before and after training
        gt=0.0,
        le=1000.0,
        description="held when its scores of tonight's samples are spread otherwise than the current one's by more "
        "than this (population stability index, 10 bins)",
    )
    num_bootstrap: int = Field(1000, ge=100, le=1_000_000, description="resamples of problems behind the 95 %")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the resamples")


class NewProblemMethodConfig(Section):
    """One method that poses new problems."""

    method: Name = Field(description="tt_si or imagination")
    num_sources: int = Field(100, ge=0, description="training problems that it starts from per night, at most")
    num_variants: int = Field(4, ge=1, le=64, description="new problems asked for per source")
    parameters: dict[Name, ParameterValue] = Field({}, description="the method's own parameters")


class PairJudgmentsConfig(Section):
    """The policy as a judge of tonight's preference pairs, asked in both orders."""

    num_pairs: int = Field(100, ge=0, le=1_000_000, description="pairs judged per night, at most; 0: none")
    temperature: float = Field(0.0, ge=0.0, le=10.0, description="sampling temperature of judgments in words")
    max_tokens: int = Field(512, ge=1, le=1_048_576, description="tokens per judgment in words")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of judgments in words")


class NewProblemsConfig(Section):
    """New problems that the policy poses, graded and tested; a source of the kind new_problems trains on them."""

    methods: tuple[NewProblemMethodConfig, ...] = Field(
        (),
        description="the methods, tt_si and imagination, one [[new_problems.methods]] table each with `method`, "
        "`num_sources`, `num_variants` and `parameters`; none: no problem is posed",
    )
    temperature: float = Field(1.0, ge=0.0, le=10.0, description="sampling temperature of statements and grades")
    max_tokens: int = Field(256, ge=1, le=1_048_576, description="tokens per statement, grade or solution")
    structured: bool = Field(
        True,
        description="have the engine's grammar enforce the form of the starter's statements and of grades; the engine "
        "must be vLLM. The starter writes no statement without it",
    )
    num_grades: int = Field(
        4, ge=1, le=64, description="grades of answerability and faithfulness per problem in words, by the policy"
    )
    min_answerability: float = Field(0.5, ge=0.0, le=1.0, description="share of the grades that must say answerable")
    min_faithfulness: float = Field(0.5, ge=0.0, le=1.0, description="share of the grades that must say faithful")
    num_solutions: int = Field(
        8, ge=1, le=256, description="solutions sampled per problem in words; its answer is what most of them say"
    )
    min_agreement: float = Field(
        0.5, gt=0.0, le=1.0, description="share of these solutions that must say so, those without an answer counted"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of sources, statements, grades and solutions")

    @model_validator(mode="after")
    def _distinct_methods(self) -> "NewProblemsConfig":
        methods = [one.method for one in self.methods]
        if len(set(methods)) < len(methods):
            raise ValueError(f"methods must differ, these are {', '.join(methods)}")
        return self


TRANSITIONS = (
    "Wait, that last step is not right. I go back to where it was still fine.",
    "Something is wrong here. Let me drop this and continue from the last step that I trust.",
    "This does not lead to the answer. I take the other way.",
    "Hold on: the step above is a mistake. I redo it.",
)
"""Turns of thought for splices, written for this project; Agent-R draws one of ten such sentences."""


class TreeExtractsConfig(Section):
    """What is read off finished search trees: step values, first errors, splices and reflections."""

    td_lambda: float = Field(
        0.9, ge=0.0, le=1.0, description="lambda of the TD targets: 0 = the next steps' estimates, 1 = the tree's ends"
    )
    num_quantiles: int = Field(9, ge=1, le=201, description="quantile targets per node, of its posterior success rate")
    min_completions: int = Field(
        4, ge=1, description="graded completions after a step, none of them right, that make it a first error"
    )
    min_value_gap: float = Field(
        0.2, ge=-1.0, le=1.0, description="splices: how much better the right path's first own step is (beta)"
    )
    min_right_value: float = Field(
        0.3, ge=0.0, le=1.0, description="splices: Monte Carlo value of the right path's first own step (alpha)"
    )
    max_splices_per_problem: int = Field(8, ge=1, description="the widest gaps are kept")
    transitions: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        TRANSITIONS, min_length=1, description="splices: thoughts that turn round; one is taken by the splice's id"
    )
    pointer: str = Field(
        "Step {step} is the first one that is wrong. The steps before it can stay.",
        min_length=1,
        description="reflections: the text that points to the first error; {step} is its number, counted from 1",
    )


class TokenScoresConfig(Section):
    """Log-probabilities and entropies of the tokens of tonight's rollouts under models by name."""

    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("policy",),
        min_length=1,
        description='the models that score: "policy", "starter", a model folder or a hub id, all with the policy\'s '
        "tokenizer; each besides the policy starts an engine of its own",
    )
    num_rollouts: int = Field(400, ge=0, description="finished rollouts scored per night, at most")

    @model_validator(mode="after")
    def _distinct_models(self) -> "TokenScoresConfig":
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"models must be different, these are {', '.join(self.models)}")
        return self


class PairMethodConfig(Section):
    """One method that makes, weighs or removes preference pairs."""

    method: str = Field(
        min_length=1,
        description="a miner of pairs, or a weight or filter over pairs, by its name in the catalogue, or one of yours "
        "by name or as my_pairs.py:METHOD",
    )
    name: Name | None = Field(None, description="what `preference_pairs.method` says of its pairs; default: the method")
    parameters: dict[Name, ParameterValue] = Field({}, description="the method's own parameters")


DEFAULT_PAIR_METHODS = (
    PairMethodConfig(method="sibling_step_pairs"),
    PairMethodConfig(method="rollout_pairs"),
)


class PairsConfig(Section):
    """Preference pairs from trees, rollouts and critiques."""

    min_margin: float = Field(
        0.2, ge=0.0, le=1.0, description="smallest gap of values, for methods with this parameter that do not set it"
    )
    min_visits: int = Field(1, ge=1, description="visits of both siblings, for methods that do not set it")
    max_pairs_per_problem: int = Field(
        8, ge=1, description="the widest gaps are kept, per method, where it does not set its own limit"
    )
    strong_model: str = Field(
        "policy", min_length=1, description="density ratio: the better aligned model of token_scores, policy or a name"
    )
    weak_model: str = Field("starter", min_length=1, description="density ratio: its base, another one")
    methods: tuple[PairMethodConfig, ...] = Field(
        DEFAULT_PAIR_METHODS,
        min_length=1,
        description="miners of pairs, then weights and filters over them in this order, one "
        "[[preference_pairs.methods]] table each",
    )


class ConsistencyMethodConfig(Section):
    """One filter that is run over the groups of independent samples."""

    name: Name = Field(description="name of the result in `consistency_results.method`")
    filter: str | None = Field(
        None,
        min_length=1,
        description="a method of `reasonmill methods` that judges rollouts, or a filter of yours by name or "
        "my_filters.py:function; default: the method called like `name`",
    )
    parameters: dict[Name, ParameterValue] = Field(
        {}, description="the method's own parameters, as `reasonmill methods NAME` lists them"
    )

    @property
    def reference(self) -> str:
        """The filter, by name or as file.py:function."""
        return self.filter or self.name


DEFAULT_METHODS = (
    ConsistencyMethodConfig(name="prof"),
    ConsistencyMethodConfig(name="prof_correct_only", filter="prof", parameters={"mode": "correct_only"}),
    ConsistencyMethodConfig(name="prof_incorrect_only", filter="prof", parameters={"mode": "incorrect_only"}),
)
CHAIN = "+"
"""Between the names of filters that follow each other: reinforce_rej+prof. No name contains it."""


class ConsistencyConfig(Section):
    """Filters over the groups of independent samples, and which of them feed the training sets."""

    methods: tuple[ConsistencyMethodConfig, ...] = Field(
        DEFAULT_METHODS, min_length=1, description="the filters, one [[consistency.methods]] table each"
    )
    source: Literal["critic", "judge", "formal"] = Field(
        "critic", description="source of the step scores; never monte_carlo, whose values contain the outcome"
    )
    scorer_version: str = Field("latest", min_length=1, description='"latest" or a version in step_scores')
    use: tuple[Name, ...] = Field(
        ("prof",),
        min_length=1,
        description="names of the methods whose kept rollouts go into the training sets; of several, each judges only "
        "what those before it kept",
    )

    @field_validator("use", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, use: object) -> object:
        return (use,) if isinstance(use, str) else tuple(use) if isinstance(use, list) else use

    @model_validator(mode="after")
    def _use_is_a_method(self) -> "ConsistencyConfig":
        names = [method.name for method in self.methods]
        if len(set(names)) < len(names):
            raise ValueError(f"methods must have different names, these are {', '.join(names)}")
        for name in self.use:
            if name not in names:
                raise ValueError(f'use = "{name}" is not the name of a method; there are {", ".join(names)}')
        if len(set(self.use)) < len(self.use):
            raise ValueError(f"use names a method twice: {', '.join(self.use)}")
        return self

    @property
    def chains(self) -> tuple[tuple[str, ...], ...]:
        """The beginnings of `use`: what is judged by one filter, by two, and so on."""
        return tuple(self.use[:length] for length in range(1, len(self.use) + 1))

    @property
    def used_method(self) -> str:
        """Name of the results that feed the training sets: one name, or several as in reinforce_rej+prof."""
        return CHAIN.join(self.use)


class ReplayConfig(Section):
    """Good rollouts of nights before that are worth training on again: right, kept by the filter, trusted by a critic.

    How much of `sft` they may be says `training_sets.replay_share`.
    """

    max_age_nights: int = Field(7, ge=1, le=10_000, description="nights before tonight that are looked at")
    min_step_score: float = Field(
        0.5, ge=0.0, lt=1.0, description="rollouts with a step that the critic scored no higher stay out; 0 = all"
    )
    max_pass_rate: float = Field(
        0.99, ge=0.0, le=1.0, description="problems that more of the latest samples solve need no replay"
    )
    max_per_problem: int = Field(2, ge=1, description="rollouts of a problem, those with the best lowest step first")


class TrainingSetsConfig(Section):
    """What goes into the sets that trainers read."""

    sft_from: tuple[Literal["consistent_rollouts", "refinements", "search", "explanations"], ...] = Field(
        ("consistent_rollouts", "refinements", "search"),
        description="origins of the right solutions in `sft`; explanations: kept records of expo and egsr, where "
        "critiques.methods has them",
    )
    max_sft_per_problem: int = Field(4, ge=1, description="solutions per problem in `sft`")
    sft_per_problem: Literal["uniform", "difficulty"] = Field(
        "uniform",
        description="uniform: that many of every problem; difficulty: in proportion to the wrong share of tonight's "
        "samples of the problem, at least one (Prop2Diff of DART-Math, arXiv 2407.13690)",
    )
    min_step_score: float = Field(
        0.5,  # measured on the demo's lake: flawed solutions 6 to 1 % (arithmetic), 14 to 8 % (dial), a tenth left out
        ge=0.0,
        lt=1.0,
        description="samples and tree paths with a step that the critic scores no higher stay out of `sft`; 0 = all",
    )
    replay_share: float = Field(
        0.0,
        ge=0.0,
        le=0.9,
        description="share of `sft` that may be rollouts of nights before (table `replay`), in its limit per problem",
    )
    leave_out_overlaps: bool = Field(
        False,
        description="problems whose statement shares words with an item of publishing.benchmarks give no row to a set",
    )
    min_step_visits: int = Field(2, ge=1, description="`stepwise` ends at the first node with fewer visits")
    step_threshold: float = Field(
        0.0, ge=0.0, lt=1.0, description="a step is labelled right when its value is above this"
    )
    normalise_advantages: bool = Field(True, description="divide group advantages by their standard deviation")
    critique_sft: tuple[Literal["final_critiques", "kept_rationales", "passing_critiques", "critique_records"], ...] = (
        Field(
            (),
            description="what trains critics in `sft`: final critiques or agents' rationales that reach the grade, "
            "critiques whose refinements are all right (CTRL), records of the other methods; empty: nothing",
        )
    )
    critique_preference: tuple[Literal["marv_pairs", "judgment_pairs", "critique_records"], ...] = Field(
        (),
        description="pairs of critiques in `preference`: those of preference_pairs, a right against a wrong judgment "
        "of one solution, pairs of the other methods; empty: none",
    )
    max_critiques_per_problem: int = Field(4, ge=1, description="critiques, and pairs of them, per problem")
    judge_share: float = Field(
        0.0, ge=0.0, lt=1.0, description="rows of `prompts` that train judging, at most this share; 0 = none"
    )
    judge_prompts_from: tuple[Literal["recycled_rollouts", "preference_prompts"], ...] = Field(
        ("recycled_rollouts",), description="where those come from: graded samples (SPARK), preference pairs"
    )


class PublishingConfig(Section):
    """Immutable dataset versions."""

    name: Name = Field("reasoning", description="name of the dataset")
    keep: int | None = Field(
        None,
        ge=1,
        description="newest versions kept; unpinned ones before them are removed for good, so that no training job can "
        "pull or `rebuild` them again; default: all are kept",
    )
    max_shard_rows: int = Field(50_000, ge=1, description="rows per Parquet shard")
    max_counted_rows: int = Field(
        200_000, ge=0, description="sets of more rows are published without counting the tokens of their texts"
    )
    license: str = Field("other", min_length=1, description="licence named in the dataset card")
    benchmarks: tuple[str, ...] = Field(
        (), description="files of test items (json lines or Parquet) that a version's prompts are tested against"
    )
    benchmark_field: str = Field("question", min_length=1, description="field of those files that holds the text")


class ReportsConfig(Section):
    """Measurements on the frozen evaluation problems."""

    num_problems: int = Field(200, ge=1, le=100_000, description="evaluation problems")
    n_values: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (8,), min_length=1, description="samples per problem for majority and best of n"
    )
    num_samples: int = Field(
        16, ge=1, le=4096, description="samples per problem, for pass@1 to pass@16; more where n_values asks for more"
    )
    num_simulations: int = Field(
        8,
        ge=1,
        le=100_000,
        description="simulations of the search with the critic: rollouts.recipe where it can answer problems, else "
        "PUCT",
    )
    num_candidates: int = Field(8, ge=1, le=64, description="steps proposed per expansion of that search")
    recipes: tuple[Name, ...] = Field(
        (), description="further recipes that search the same problems with the critic, to be compared with it"
    )
    aggregate: Literal["mean", "min", "product", "last"] = Field(
        "min", description="how a critic's step scores rank a rollout in best of n"
    )
    extra_votes: tuple[Literal["self_certainty", "self_prm"], ...] = Field(
        (),
        description="votes over the samples that cost the policy further tokens: self_certainty reads every sample "
        "once more and needs a small vocabulary; self_prm has the policy judge its own steps by `verdict_tokens`",
    )
    verdict_tokens: tuple[str, str] = Field(
        ("<right>", "<wrong>"),
        description="self_prm: what the policy writes after a right and after a wrong step, one token each",
    )
    num_bootstrap: int = Field(1000, ge=100, le=1_000_000, description="resamples behind the 95 % bounds")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of evaluation samples")


class NightReportConfig(Section):
    """The report of a night, and when it alarms."""

    pages_url: str = Field(
        "http://127.0.0.1:3001",
        pattern=r"^https?://[^\s]*[^\s/]$",
        description="where `reasonmill nights serve`, or a web server of yours, shows the state folder; the UI's links "
        "to reports and trees begin with it, because browsers follow none to a file",
    )
    num_audited: int = Field(200, ge=2, le=10_000_000, description="right answers in the audited sample, about")
    audited_by: Literal["people_first", "people", "generator"] = Field(
        "people_first",
        description="whose labels correct the critic in the audited sample: people's reviews and, of other solutions, "
        "the generator's own rules; only people's; only the generator's",
    )
    alarm_nights: int = Field(7, ge=1, le=365, description="earlier nights whose median is what is usual")
    max_diversity_drop: float = Field(
        0.3, ge=0.0, lt=1.0, description="alarm where the share of distinct solutions falls by more than this share"
    )
    max_yield_drop: float = Field(
        0.3, ge=0.0, lt=1.0, description="alarm where a filter keeps, or a token yields, less by more than this share"
    )
    max_judge_drift: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="alarm where the share of critiques that say right, less the share that is right, or the share of "
        "pairs judged otherwise in the other order, moves further than this",
    )
    max_length_growth: float = Field(
        0.25, ge=0.0, le=100.0, description="alarm where rollouts get longer by more than this share"
    )


class ScheduleConfig(Section):
    """The nightly run."""

    enabled: bool = Field(False, description="run every night")
    cron: str = Field("0 2 * * *", pattern=r"^\S+( \S+){4}$", description="when, as five cron fields")
    timezone: str = Field("UTC", min_length=1, description="time zone of cron and of the nightly partitions")
    first_night: date = Field(date(2026, 1, 1), description="first nightly partition")
    retries: int = Field(2, ge=0, le=20, description="how often a stage tries again whose engine failed")
    retry_delay_s: float = Field(30.0, ge=0.0, le=86_400.0, description="seconds before such a try")
    fresh_within_hours: int = Field(
        36, ge=1, le=8760, description="an enabled schedule: the UI warns where nothing was published for so long"
    )
    alert_command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="program and arguments run for every alert, without a shell; the alert is JSON on its stdin",
    )
    policy_folder: str | None = Field(
        None,
        min_length=1,
        description="folder where new checkpoints of the policy appear: the newest usable one makes the next night",
    )
    owners: tuple[Owner, ...] = Field((), description='whom the UI names: e-mail addresses or "team:name"')

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f'"{name}" is no time zone; write one such as "UTC" or "Europe/Berlin"') from error
        return name


class ExtensionsConfig(Section):
    """Code of yours by name: `my_file.py:function` in the workspace."""

    graders: dict[Name, PluginPath] = Field({}, description="grade(problem, answer, steps) -> 0.0, 1.0 or None")
    filters: dict[Name, PluginPath] = Field({}, description="filters for [[consistency.methods]]")
    recipes: dict[Name, PluginPath] = Field({}, description="search recipes for rollouts.recipe")
    prompts: str = Field("prompts", min_length=1, description="folder with prompt templates that replace built-in ones")


class Settings(Section):
    """The whole configuration, with `root` the absolute workspace folder."""

    root: Path = Field(default_factory=lambda: Path.cwd() / "workspace")
    paths: PathsConfig = Field(PathsConfig())
    problems: ProblemsConfig = Field(ProblemsConfig())
    policy: PolicyConfig = Field(PolicyConfig())
    engine: EngineConfig = Field(EngineConfig())
    rollouts: RolloutsConfig = Field(RolloutsConfig())
    retrieval: RetrievalConfig = Field(RetrievalConfig())
    critiques: CritiquesConfig = Field(CritiquesConfig())
    new_problems: NewProblemsConfig = Field(NewProblemsConfig())
    pair_judgments: PairJudgmentsConfig = Field(PairJudgmentsConfig())
    process_critic: CriticConfig = Field(CriticConfig())
    generative_critic: GenerativeCriticConfig = Field(GenerativeCriticConfig())
    cloud_critic: CloudCriticConfig = Field(CloudCriticConfig())
    promotion: PromotionConfig = Field(PromotionConfig())
    tree_extracts: TreeExtractsConfig = Field(TreeExtractsConfig())
    token_scores: TokenScoresConfig = Field(TokenScoresConfig())
    preference_pairs: PairsConfig = Field(PairsConfig())
    consistency: ConsistencyConfig = Field(ConsistencyConfig())
    replay: ReplayConfig = Field(ReplayConfig())
    training_sets: TrainingSetsConfig = Field(TrainingSetsConfig())
    publishing: PublishingConfig = Field(PublishingConfig())
    reports: ReportsConfig = Field(ReportsConfig())
    night_report: NightReportConfig = Field(NightReportConfig())
    schedule: ScheduleConfig = Field(ScheduleConfig())
    extensions: ExtensionsConfig = Field(ExtensionsConfig())
    _file: Path | None = PrivateAttr(None)
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)

    def in_workspace(self, path: str) -> Path:
        """The absolute form of a path of the configuration."""
        return (self.root / Path(path).expanduser()).absolute()

    @property
    def lake_url(self) -> str:
        """Absolute folder or fsspec URL of the Parquet tables."""
        return self.paths.lake if "://" in self.paths.lake else str(self.in_workspace(self.paths.lake))

    @property
    def datasets_url(self) -> str:
        """Absolute folder or fsspec URL of the published dataset versions."""
        return self.paths.datasets if "://" in self.paths.datasets else str(self.datasets_dir)

    @property
    def datasets_dir(self) -> Path:
        """Folder of the published dataset versions, where that is a local one (`datasets_url` holds for all)."""
        return self.in_workspace(self.paths.datasets)

    @property
    def checkpoints_dir(self) -> Path:
        """Folder of the trained critics."""
        return self.in_workspace(self.paths.checkpoints)

    @property
    def response_store_path(self) -> Path:
        """Folder of the response store."""
        return self.in_workspace(self.paths.responses)

    @property
    def state_dir(self) -> Path:
        """Folder for engine state files, locks and logs."""
        return self.in_workspace(self.paths.state)

    @property
    def prompts_dir(self) -> Path:
        """Folder with the user's own prompt templates; it need not exist."""
        return self.in_workspace(self.extensions.prompts)

    @property
    def config_file(self) -> Path | None:
        """The toml file that was read; None with built-in defaults."""
        return self._file
