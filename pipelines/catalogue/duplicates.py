"""Methods that find what is there twice."""

from pipelines.catalogue.method import Method
from pipelines.duplicates import exact, minhash, semantic

STARTER = "Starter demo of 2026-11-21"
BRODER = "On the resemblance and containment of documents (Broder 1997)"

METHODS = (
    Method(
        name="exact_duplicates",
        paper=BRODER,
        arxiv=None,
        summary="Keeps the first by id of equal texts, within groups where they are given.",
        reads=(),
        writes=(),
        params=exact.ExactParams,
        function="pipelines.duplicates.exact.run",
        query="duplicates/exact",
        curation=exact.CURATION,
        measured=f"{STARTER}: 2,185 of 3,200 samples removed, 1,015 texts are different within their problem",
        tier="verified",
    ),
    Method(
        name="minhash_duplicates",
        paper=BRODER,
        arxiv=None,
        summary="Keeps the first by id of texts whose shingles overlap: MinHash and LSH propose, the exact Jaccard "
        "similarity decides (band sizes and threshold are ours).",
        reads=(),
        writes=(),
        params=minhash.MinHashParams,
        function="pipelines.duplicates.minhash.run",
        curation=minhash.CURATION,
        measured=f"{STARTER}: 2,185 of 3,200 samples removed as exact duplicates, none as near ones with 5 words, "
        "3 with 5 characters; 17 of 2,989 statements with 5 characters. GSM8K: 1 of 7,473 training questions, a near "
        "duplicate. 1 M made-up steps: 12.4 s of processor time (0.096 of the plain copy's speed), 90,143 of 90,143 "
        "exact and 7,485 of 7,488 near ones found",
        tier="verified",
    ),
    Method(
        name="step_duplicates",
        paper=BRODER,
        arxiv=None,
        summary="The same for the steps of rollouts, with shingles of characters: one row per step.",
        measured=f"{STARTER}: of 15,315 steps 13,469 word for word and 50 near ones removed. ProcessBench: 106 of "
        "12,985 steps removed, 20 of them word for word",
        tier="verified",
        reads=(),
        writes=(),
        params=minhash.StepParams,
        function="pipelines.duplicates.minhash.run_steps",
        curation=minhash.STEP_CURATION,
    ),
    Method(
        name="semantic_duplicates",
        paper="SemDeDup: Data-efficient learning at web-scale through semantic deduplication",
        arxiv="2303.09540",
        summary="Keeps the first by id of rows whose given embeddings are near; without the paper's clusters, and "
        "with its keep rule replaced (from memory).",
        reads=(),
        writes=(),
        params=semantic.SemanticParams,
        function="pipelines.duplicates.semantic.run",
        curation=semantic.CURATION,
    ),
)
