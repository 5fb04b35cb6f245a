"""Agents that criticise: the parts that every method shares, and one small file per published method.

The parts, in the order in which a critique goes through them:

    ask.py        a seeded request under a role's prompt, where wanted with a regular expression that the engine's
                  grammar enforces -> a `Reply`, which carries its error instead of raising it; a `Reply` as a graded
                  attempt
    parse.py      a text -> step verdicts and the first wrong step, or the named reason why it cannot be read
    units.py      a critique as units: location (step), flaw, suggestion, criterion, severity; the grammar of a critique
    meta.py       the meta-critique: what the other agents, or a model, say of each unit, and of a whole critique
    aggregate.py  several judgements -> verdict, confidence, first error (a vote, step by step)
    final.py      confirmed units -> the final critique, written in the form in which agents write theirs
    said.py       one agent's critique of any solution, asked for and read
    records.py    what a method hands over: one row of `critique_records` per thing that can be learned from
    corruption.py errors put into right steps, by a rule or by a model
    methods.py    name -> method, for `[[critiques.methods]]`

MultiCritique (multi_critique.py) fills the tables of single things: `critiques`, `critique_units`, `verdicts`,
`refinements`. Every other method is a file with one function `run(room, groups, params)`, whose rows go to
`critique_records`: messages with a mask of what is learned, prediction, label, reward, and where the method chooses,
kept or the named reason why not.

What needs no model runs on anybody's table (`reasonmill apply`): rewards of critics (rewards.py), data for judges
(judge_data.py), critiques out of search trees (tree_discrepancy.py), critics of formal statements
(formalization_critique.py); their queries stand in `sql/critiques/`.

Invariants
- Model output is untrusted: what cannot be read is a row with `error`, verdict null, and never a zero.
- Seeds come from (configured seed, what is asked about, role, draw), never from the order of requests.
- Every refinement is graded by the problem's own grader; an ungraded one (null) is neither right nor wrong.
- Agents do not see each other's critiques. (Debate reduced their diversity: MultiCritique, arXiv 2410.15287.)
"""
