"""Methods that find what is there twice."""

from pipelines.catalogue.method import Method
from pipelines.duplicates import exact, minhash, semantic

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
        measured="GSM8K: 1 of 7,473 training questions removed, a near duplicate; 1 M made-up steps: 12.4 s of "
        "processor time (0.096 of the plain copy's speed), 90,143 of 90,143 exact and 7,485 of 7,488 near ones found",
    ),
    Method(
        name="step_duplicates",
        paper=BRODER,
        arxiv=None,
        summary="The same for the steps of rollouts, with shingles of characters: one row per step.",
        measured="ProcessBench: 106 of 12,985 steps removed, 20 of them word for word",
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
