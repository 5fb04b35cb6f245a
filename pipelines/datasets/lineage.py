"""Where a row came from: pair, filter decisions, critiques, tree nodes, requests, models; and where it went.

    pair -> chosen, rejected -> rollout -> problem, decisions of the filters, critiques and refinements,
    scorers of its steps, path of the search tree -> request of every step -> model
    problem that a policy posed -> the problem that it was made from, requests of its statement, grades and solutions

A row of a training set is named by the id it carries (`rollout_id`, `pair_id`, `problem_id`); a group, a critique, a
refinement, a tree node (`tree_id:node_id`) or a problem may be named directly. Every query asks one column for one
value, so that the lake's Bloom filters leave a few row groups to read, however many there are (`lake.SOUGHT`).

Forward, `versions_with_row` reads the versions' own files and `versions_with_model` their manifests: both answer
also when the lake has been made anew. What the tables tell is the lake of now: `tables_since` says, version by version,
which of them have another generation than that version was made from.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset

from pipelines.datasets.files import arrow_rows
from pipelines.datasets.manifest import critics_of
from pipelines.datasets.versions import DatasetStore, PublishedVersion
from pipelines.errors import LakeError
from pipelines.inference.response_store import RequestRecord
from pipelines.lake import PARTITION_NAME, Lake
from pipelines.tables import UNPARTITIONED
from pipelines.warehouse import Warehouse

MAX_TEXT = 300  # characters of a text that are shown
GROUPS = "groups"  # stands for a table where an id is that of a group
NODE_NUMBER = re.compile(r"[0-9]{1,18}")
ID_COLUMNS = ("rollout_id", "pair_id", "group_id", "critique_id", "refinement_id", "problem_id")
TABLES = (
    "rollouts", "evaluation_rollouts", "preference_pairs", "critiques", "verdicts", "refinements", "problems",
    "search_nodes", "consistency_results", "step_scores", "human_labels", "new_problems",
)  # fmt: skip
BEHIND_ROLLOUTS = (
    "problems", "new_problems", "search_nodes", "rollouts", "consistency_results", "step_scores", "critiques",
    "verdicts", "refinements",
)  # fmt: skip
BEHIND = {"pair_id": (*BEHIND_ROLLOUTS, "preference_pairs"), "problem_id": ("problems", "new_problems")}
"""The tables that lineage tells a row by, by the column that has its id; for others, those of a rollout."""
Row = Mapping[str, object]
LookUpRequest = Callable[[str], RequestRecord | None]
"""What the response store knows of a request; None where there is no store or no such request."""


@dataclass(frozen=True)
class Origin:
    """One thing that a row was made from, and what that was made from in turn."""

    kind: str
    """pair, group, rollout, node, critique, verdict, review, refinement, decision, scorer, request, problem, posed."""
    row_id: str  # "" where the thing has no id of its own
    facts: tuple[tuple[str, str], ...]  # what is known of it, as names and values; what is not known is left out
    role: str = ""  # what it is to the row above: chosen, rejected, ...
    sources: tuple["Origin", ...] = ()

    def to_json(self) -> dict[str, object]:
        """As plain objects; facts as one object."""
        return {
            "kind": self.kind,
            "row_id": self.row_id,
            "role": self.role,
            "facts": dict(self.facts),
            "sources": [source.to_json() for source in self.sources],
        }


@dataclass(frozen=True)
class VersionUse:
    """How many rows of a set of a version are of a row, a problem or a model; None = the manifest does not count."""

    version: str
    set_name: str  # "" where only the version as a whole is known
    column: str  # the column that names it, or the role of a model
    num_rows: int | None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class TableSince:
    """A table that has another generation in the lake now than the version was made from."""

    table: str
    partition: str  # the night; `all` for tables without nights
    then: str
    now: str | None  # None: the lake has nothing of it any more

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class TablesSince:
    """What has become of the tables behind a version's rows; `changed` None: its manifest does not name any."""

    version: str
    changed: tuple[TableSince, ...] | None

    def to_json(self) -> dict[str, object]:
        found = None if self.changed is None else [one.to_json() for one in self.changed]
        return {"version": self.version, "changed": found}

    def __str__(self) -> str:
        """A sentence; "" where all is as it was."""
        if self.changed is None:
            return f"{self.version} does not say which tables it was made from: the lake may have others now."
        anew = ", ".join(f"{one.table}/{one.partition}" for one in self.changed if one.now is not None)
        gone = ", ".join(f"{one.table}/{one.partition}" for one in self.changed if one.now is None)
        states = ([f"has another generation of {anew}"] if anew else []) + ([f"no longer has {gone}"] if gone else [])
        if not states:
            return ""
        return (
            f"{self.version} was made from other tables than these: the lake now {' and '.join(states)}. What they "
            "tell of the row may not be how it was made."
        )


# back ------------------------------------------------------------------------------------------------


class Tracer:
    """Follows ids through the tables of a lake, asking nothing twice; `night` chooses among nights of the same id."""

    def __init__(self, warehouse: Warehouse, lake: Lake, look_up: LookUpRequest, night: str | None = None):
        self._warehouse, self._lake, self._look_up, self._night = warehouse, lake, look_up, night
        self._asked: dict[tuple[object, ...], list[Row]] = {}

    def origins(self, row_id: str) -> list[Origin]:
        """What the id names, one origin per table and night; LakeError where it names nothing."""
        found = self.find(row_id)
        if not found:
            where = f" of the night {self._night}" if self._night else ""
            raise LakeError(
                f"Nothing in the lake{where} has the id {row_id!r}. Give the rollout_id, pair_id or problem_id "
                "of a row of a training set, or a group_id, critique_id, refinement_id or tree_id:node_id."
            )
        return found

    def find(self, row_id: str) -> list[Origin]:
        """What the id names, one origin per table and night; none where the lake has nothing of it."""
        return [self._origin(row["table_name"], row_id, row["night"]) for row in self._named(row_id)]

    def nights(self, row_id: str) -> list[str]:
        """The nights in which the lake has what the id names; none for a problem, which has no night."""
        return sorted({row["night"] for row in self._named(row_id)} - {None})

    def _named(self, row_id: str) -> list[Row]:
        tree_id, _, node = row_id.partition(":")
        node_id = 0 if not node else _node_number(node)
        rows = self._rows("named_rows", row_id=row_id, tree_id=tree_id, node_id=node_id)
        if not rows:
            nights = dict.fromkeys(row["night"] for row in self._rows("group_rollouts", group_id=row_id))
            rows = [{"table_name": GROUPS, "night": night} for night in nights]
        return [row for row in rows if self._night is None or row["night"] in (None, self._night)]

    def _origin(self, table: str, row_id: str, night: str | None) -> Origin:
        if table == "problems":
            return self._problem(row_id)
        if table == "search_nodes":
            return self._node(row_id, night)
        if table == "preference_pairs":
            return self._pair(row_id, night)
        if table == GROUPS:
            return self._group(row_id, night)
        if table == "critiques":
            rows = self._rows("critiques", row_id=row_id, night=night)
            return self._with_rollout(self._critique(rows[0]), rows)
        if table == "verdicts":
            rows = self._rows("verdict", row_id=row_id, night=night)
            return self._with_rollout(_verdict(rows[0]), rows)
        if table == "refinements":
            rows = self._rows("refinements", row_id=row_id, night=night)
            return self._with_rollout(self._refinement(rows[0]), rows)
        return self._rollout(row_id, night, "rollout" if table == "rollouts" else "evaluation_rollout")

    def _with_rollout(self, origin: Origin, rows: Sequence[Row]) -> Origin:
        """A critique or refinement behind which stands the rollout that it is about."""
        rollout = replace(self._rollout(rows[0]["rollout_id"], rows[0]["night"]), role="about")
        return replace(origin, sources=(*origin.sources, rollout))

    def _pair(self, pair_id: str, night: str) -> Origin:
        row = self._one("pair", row_id=pair_id, night=night)
        facts = ("kind", "method", "margin", "chosen_score", "rejected_score", "soft_label", "weight", "chosen",
                 "rejected", "night")  # fmt: skip
        sides = [self._side(role, row[f"{role}_id"], row[f"{role}_policy"], night) for role in ("chosen", "rejected")]
        return Origin("pair", pair_id, facts_of(row, facts), sources=(*sides, self._problem(row["problem_id"])))

    def _group(self, group_id: str, night: str) -> Origin:
        """The samples that are compared with each other; how many of the graded ones are right."""
        rows = [row for row in self._rows("group_rollouts", group_id=group_id) if row["night"] == night]
        graded = [row["outcome_reward"] for row in rows if row["outcome_reward"] is not None]
        known = {
            "samples": len(rows),
            "graded": len(graded),
            "right": sum(one == 1.0 for one in graded),
            "night": night,
        }
        samples = [replace(self._rollout(row["rollout_id"], night), role="sample") for row in rows]
        return Origin("group", group_id, facts_of(known, tuple(known)), sources=tuple(samples))

    def _side(self, role: str, row_id: str | None, policy: str | None, night: str) -> Origin:
        """One side of a pair; what it names may be gone from the lake, and then that is said."""
        if row_id is not None and ":" in row_id and self._is_node(row_id, night):
            return replace(self._node(row_id, night), role=role)
        named = [row for row in self._named(row_id or "") if row["night"] in (None, night)]
        if not named:
            is_known = () if row_id is None else (("status", "not in the lake"),)
            return Origin("row", row_id or "", (*is_known, *facts_of({"model": policy}, ("model",))), role)
        return replace(self._origin(named[0]["table_name"], row_id, named[0]["night"]), role=role)

    def _rollout(self, rollout_id: str, night: str, query: str = "rollout") -> Origin:
        rows = self._rows(query, row_id=rollout_id, night=night)
        if not rows:
            return Origin("rollout", rollout_id, (("status", "not in the lake"),))
        row = rows[0]
        names = ("recipe", "answer", "outcome_reward", "num_tokens", "finish_reason", "is_guided", "seed",
                 "sampling_digest", "error", "night")  # fmt: skip
        facts = (*model_facts(row["policy_id"], row["policy_version"]), *facts_of(row, names))
        facts = (*facts, ("steps", shortened("\n".join(row["steps"] or []))))
        where = {"row_id": rollout_id, "night": night}
        sources = [
            self._problem(row["problem_id"]),
            *(_decision(one) for one in self._rows("decisions", **where)),
            *(self._scorer(one, night) for one in self._rows("scorers", **where)),
            *(_verdict(one) for one in self._rows("verdict", **where)),
            *(_review(one) for one in self._rows("reviews", **where)),
            *(self._critique(one) for one in self._rows("critiques", **where)),
            *(self._refinement(one) for one in self._rows("refinements", **where)),
        ]
        if row["tree_id"] is not None and row["leaf_node_id"] is not None:
            sources += self._path(row["tree_id"], row["leaf_node_id"], night, row["policy_version"])
        asked = (row["policy_version"], row["seed"], row["sampling_digest"])
        sources += self._request(row["request_id"], f"{query}s", night, *asked)
        return Origin("rollout", rollout_id, facts, sources=tuple(sources))

    def _critique(self, row: Row) -> Origin:
        facts = facts_of(row, ("agent", "verdict", "first_error_step", "error", "text"))
        request = self._request(row["request_id"], "critiques", row["night"])
        return Origin("critique", row["critique_id"], facts, sources=tuple(request))

    def _refinement(self, row: Row) -> Origin:
        facts = facts_of(row, ("critique_id", "answer", "outcome_reward", "error"))
        facts = (*facts, ("steps", shortened("\n".join(row["steps"] or []))))
        request = self._request(row["request_id"], "refinements", row["night"])
        return Origin("refinement", row["refinement_id"], facts, sources=tuple(request))

    def _scorer(self, row: Row, night: str) -> Origin:
        """Who scored the steps; for critics also the night whose critics they are, as the lake's lineage has it."""
        facts = facts_of(row, ("source", "num_scored", "lowest", "mean"))
        made = facts_of({"critics of": critics_of(self._lake, night)}, ("critics of",))
        return Origin("scorer", row["scorer_version"] or "", (*facts, *made))

    def _node(self, row_id: str, night: str) -> Origin:
        tree_id, _, node = row_id.partition(":")
        makers = self._rows("tree_policy", tree_id=tree_id, night=night)
        models = {row["policy_version"] for row in makers if row["policy_version"] is not None}
        model = "+".join(sorted(models)) or None
        *above, last = self._path(tree_id, int(node or 0), night, model)
        facts = [fact for row in makers for fact in facts_of(row, ("policy_id", "recipe"))]
        facts = dict.fromkeys((*facts, *facts_of({"model": model}, ("model",))))
        problem = self._problem(self._one("tree_problem", tree_id=tree_id, night=night)["problem_id"])
        return replace(last, facts=(*last.facts, *facts), sources=(*last.sources, *reversed(above), problem))

    def _is_node(self, row_id: str, night: str) -> bool:
        tree_id, _, node = row_id.partition(":")
        return bool(self._rows("path", tree_id=tree_id, node_id=_node_number(node), night=night))

    def _path(self, tree_id: str, node_id: int, night: str, model: str | None) -> list[Origin]:
        """The nodes of a path, the root first, each with its request."""
        names = ("depth", "action", "visit_count", "value", "raw_value", "prior", "outcome_reward", "step_text")
        return [
            Origin(
                "node",
                f"{tree_id}:{row['node_id']}",
                facts_of(row, names),
                sources=tuple(self._request(row["request_id"], "search_nodes", night, model)),
            )
            for row in self._rows("path", tree_id=tree_id, node_id=node_id, night=night)
        ]

    def _request(
        self,
        request_id: str | None,
        table: str,
        night: str,
        policy_version: str | None = None,
        seed: int | None = None,
        sampling: str | None = None,
    ) -> list[Origin]:
        """The request that a row names; its model and seed where the row has them, its engine as the lake has it."""
        if request_id is None:
            return []
        record = self._look_up(request_id)
        manifest = self._lake.manifest(table, night)
        known = {
            "model": policy_version,
            "seed": seed,
            "sampling": sampling,
            "engine": manifest.lineage.get("engine") if manifest else None,
            "status": record.status if record else "not in the response store",
            "ended": datetime.fromtimestamp(record.ended_at, UTC).isoformat(timespec="seconds") if record else None,
            "attempts": record.num_attempts if record else None,
        }
        return [Origin("request", request_id, facts_of(known, tuple(known)))]

    def _problem(self, problem_id: str) -> Origin:
        rows = self._rows("problem", problem_id=problem_id)
        if not rows:
            return Origin("problem", problem_id, (("status", "not in the lake"),))
        names = ("family", "difficulty", "split", "reference_answer", "source", "source_line", "prompt")
        posed = [self._posed(row) for row in self._rows("posed_problem", problem_id=problem_id)]
        return Origin("problem", problem_id, facts_of(rows[0], names), sources=tuple(posed))

    def _posed(self, row: Row) -> Origin:
        """How a policy made a problem; it was made from a problem of an earlier night, which may be made itself."""
        names = ("method", "answer_margin", "answered_by", "answerability", "faithfulness", "agreement", "night")
        ids = (row["request_id"], *(row["request_ids"] or ()))
        asked = [request for one in ids for request in self._request(one, "new_problems", row["night"])]
        source = replace(self._problem(row["source_problem_id"]), role="made from")
        return Origin("posed", row["candidate_id"], facts_of(row, names), sources=(source, *asked))

    def _rows(self, query: str, **params: object) -> list[Row]:
        key = (query, *params.items())
        if key not in self._asked:
            self._asked[key] = self._warehouse.named(f"datasets/{query}", **params).to_pylist()
        return self._asked[key]

    def _one(self, query: str, **params: object) -> Row:
        return self._rows(query, **params)[0]


def _node_number(text: str) -> int:
    """The number of a node; -1, which no node has, where the text is no such number."""
    return int(text) if NODE_NUMBER.fullmatch(text) else -1


def open_tracing_warehouse(lake: Lake) -> Warehouse:
    """A warehouse of the tables that lineage reads."""
    return Warehouse(lake, TABLES)


def model_facts(name: str | None, digest: str | None) -> tuple[tuple[str, str], ...]:
    """The model's name and digest, as far as they are known."""
    return facts_of({"policy": name, "model": digest}, ("policy", "model"))


def facts_of(row: Row, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The named values as text; null ones are left out, long ones are cut."""
    return tuple((name, _shown(row[name])) for name in names if row.get(name) is not None)


def shortened(text: str) -> str:
    """At most MAX_TEXT characters of a text, and how many there are."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return shortened(str(value))


def _decision(row: Row) -> Origin:
    known = {"outcome": "kept" if row["kept"] else f"removed: {row['reason']}", "score": row["score"]}
    return Origin("decision", row["method"], facts_of(known, ("outcome", "score")))


def _verdict(row: Row) -> Origin:
    """The aggregate; its id is that of the final critique, which refinements name."""
    names = ("verdict", "confidence", "first_error_step", "num_agents", "text", "error")
    return Origin("verdict", row["critique_id"] or "", facts_of(row, names))


def _review(row: Row) -> Origin:
    names = ("reviewer", "reviewed_on", "first_error_step", "comment", "is_blind")
    return Origin("review", row["review_id"], facts_of(row, names))


# forward -------------------------------------------------------------------------------------------


def versions_with_row(store: DatasetStore, name: str, row_id: str) -> tuple[list[VersionUse], dict[str, str]]:
    """(the sets of a dataset's versions that have rows with this id, by the files themselves; damaged versions).

    The second: version -> why nothing, or not everything, is known of it.
    """
    found = store.listing(name)
    uses, damaged = [], dict(found.damaged)
    for version in found.versions:
        try:
            uses += _uses_of_row(store, version, row_id)
        except LakeError as error:
            damaged[version.version] = str(error)
    return uses, damaged


def _uses_of_row(store: DatasetStore, version: PublishedVersion, row_id: str) -> list[VersionUse]:
    return [
        VersionUse(version.version, set_name, column, count)
        for set_name, entry in version.manifest["sets"].items()
        for column in ID_COLUMNS
        if column in entry["columns"] and (count := _count(store, version, set_name, column, row_id))
    ]


def _count(store: DatasetStore, version: PublishedVersion, set_name: str, column: str, value: str) -> int:
    try:
        return arrow_rows(version, set_name, store).count_rows(filter=pyarrow.dataset.field(column) == value)
    except (OSError, pa.ArrowException) as error:
        raise LakeError(f"The version {version.version} cannot be read: {str(error).splitlines()[0]}") from error


def tables_since(
    lake: Lake, store: DatasetStore, name: str, uses: Sequence[VersionUse], nights: Collection[str] = ()
) -> list[TablesSince]:
    """For every version with uses of a row: which of the tables behind it have another generation now.

    nights: those in which the lake has the row (`Tracer.nights`); none: every night that the manifest names.
    """
    manifests = {version.version: version.manifest for version in store.listing(name).versions}
    columns: dict[str, set[str]] = {}
    for use in uses:
        columns.setdefault(use.version, set()).add(use.column)
    return [
        TablesSince(version, _changed(lake, manifests[version], named, nights))
        for version, named in columns.items()
        if version in manifests
    ]


def _changed(
    lake: Lake, manifest: Mapping[str, object], columns: Collection[str], nights: Collection[str]
) -> tuple[TableSince, ...] | None:
    behind = {table for column in columns for table in BEHIND.get(column, BEHIND_ROLLOUTS)}
    then = dict(_generations(manifest))
    if not then:
        return None
    asked = [
        (table, partition, generation, lake.generation(table, partition))
        for (table, partition), generation in then.items()
        if table in behind and (table in UNPARTITIONED or not nights or partition in nights)
    ]
    return tuple(
        TableSince(table, partition, generation, now)
        for table, partition, generation, now in asked
        if now is None or (now != generation and table not in UNPARTITIONED)  # problems: every night writes them again
    )


def _generations(manifest: Mapping[str, object]) -> Iterator[tuple[tuple[str, str], str]]:
    """(table, partition), generation of every table that a version was made from; older manifests name none."""
    night = str(manifest.get("night", ""))
    for table, generation in manifest.get("upstream_generations", {}).items():
        yield (table, "all" if table in UNPARTITIONED else night), str(generation)
    for key, generation in manifest.get("earlier_generations", {}).items():
        table, _, partition = key.partition("/")
        if PARTITION_NAME.fullmatch(partition):
            yield (table, partition), str(generation)


def damaged_versions(store: DatasetStore, name: str) -> dict[str, str]:
    """Version -> why its manifest cannot be used: nobody knows what it has."""
    return dict(store.listing(name).damaged)


def versions_with_model(store: DatasetStore, name: str, model: str) -> list[VersionUse]:
    """The versions whose manifest names a model: in a role, and by rows of each set.

    `model`: the beginning of its digest, or the name that the configuration has for the policy.
    """
    uses = []
    for version in store.listing(name).versions:
        digests = _digests(version, model)
        for role, known in sorted(version.manifest.get("models", {}).items()):
            if any(one.startswith(digests) for one in str(known).split("+")):
                uses.append(VersionUse(version.version, "", role, None))
        for set_name, entry in version.manifest["sets"].items():
            for known, count in sorted((entry.get("policies") or {}).items()):
                if known.startswith(digests):
                    uses.append(VersionUse(version.version, set_name, "policy", count))
    return uses


def _digests(version: PublishedVersion, model: str) -> tuple[str, ...]:
    """What digests begin with that a model's name or beginning of a digest stands for in a version; never empty."""
    policies = str(version.manifest.get("models", {}).get("policy", "")).split("+")
    named = policies if model == _policy_name(version) else []
    return tuple(one for one in (model, *named) if one)


def _policy_name(version: PublishedVersion) -> str | None:
    return version.manifest.get("configuration", {}).get("policy", {}).get("model")


def known_models(store: DatasetStore, name: str) -> list[str]:
    """Names of policies, then digests, of all versions of a dataset."""
    versions = store.listing(name).versions
    names = {_policy_name(version) for version in versions} - {None}
    digests = {
        digest
        for version in versions
        for known in (
            *version.manifest.get("models", {}).values(),
            *(policy for entry in version.manifest["sets"].values() for policy in (entry.get("policies") or {})),
        )
        for digest in str(known).split("+")
        if digest
    }
    return [*sorted(names), *sorted(digests)]


def near_problems(warehouse: Warehouse, problem_id: str) -> list[str] | None:
    """Ids of the lake's problems that look like this one, nearest first; None where it is one of them."""
    near = warehouse.named("datasets/near_problems", problem_id=problem_id)["problem_id"].to_pylist()
    return None if problem_id in near else near
