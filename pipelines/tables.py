"""One Arrow schema per table: the contract between every stage, the lake and the SQL views.

A table has one name everywhere: asset key = Parquet folder = DuckDB view = key of `SCHEMAS`.
Conventions: ids end in `_id`; counts start with `num_`; null means "not known" and never zero;
step indices count from 0 and -1 means "no error"; `night` is the partition's date (YYYY-MM-DD).
Every generated row carries `request_id`s that lead to the response store, so a row can be traced
to the request that made it.
"""

import pyarrow as pa

STRING, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
STRINGS, INTS, FLOATS = pa.list_(STRING), pa.list_(INT), pa.list_(FLOAT)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


RELATIONS: dict[str, pa.Schema] = {
    # one row per rollout that consistency methods look at; made from rollouts and step_scores, or from a user's file
    "samples": _schema(
        position=INT,  # order of the output, from 0
        rollout_id=STRING,
        problem_id=STRING,
        group_id=STRING,  # null = belongs to none
        policy_id=STRING,
        steps=STRINGS,
        answer=STRING,  # null = none was found
        outcome_reward=FLOAT,  # 0.0 | 1.0; anything else is not graded
        step_values=FLOATS,  # one step critic's scores; null = not scored
        num_tokens=INT,
        sum_logprob=FLOAT,
        finish_reason=STRING,  # stop | length | error
        text_id=STRING,  # the rollout's id, for methods over texts
        text=STRING,  # its steps, one per line; null = it has none
        exclusion=STRING,  # why it takes no part; null = nothing is known against it
        score_exclusion=STRING,  # why it takes no part where step scores are read
    ),
    # one row per posed problem whose statement may be new, in the order in which they were asked for
    "posed_problems": _schema(
        position=INT,
        family=STRING,
        canonical=STRING,  # null = no statement could be read
        split=STRING,  # train | held_out, by its canonical form; null with canonical
    ),
    # one row per rollout of a pool that was sampled in several ways, from a user's file
    "pool_rollouts": _schema(
        position=INT,
        problem_id=STRING,
        rollout_id=STRING,
        temperature=FLOAT,
        outcome_reward=FLOAT,
        step_values=FLOATS,
    ),
    # one row per rollout of a problem or of its paraphrase, from a user's file
    "paraphrased_rollouts": _schema(position=INT, problem_id=STRING, is_paraphrase=BOOL, answer=STRING),
    # one row per sample with how certain its policy was of it, from a user's file
    "certain_samples": _schema(position=INT, rollout_id=STRING, group_id=STRING, answer=STRING, self_certainty=FLOAT),
    # one row per pair that several judges compared, from a user's file; the probability that the first is better
    "judge_preferences": _schema(position=INT, preferences=FLOATS),
    # one row per scored (instruction, response) of two similar instructions, numbered 1 and 2, from a user's file
    "contrast_scores": _schema(position=INT, pair_id=STRING, instruction=INT, response=INT, score=FLOAT),
    # one row per training sample, oldest first, from a user's file; arm: its source or category
    "arm_samples": _schema(position=INT, arm=STRING, advantage=FLOAT, batch=INT),
    # one row per problem with what earlier rollouts showed, from a user's file
    "problem_counts": _schema(position=INT, problem_id=STRING, num_right=INT, num_tried=INT, is_done=BOOL),
    # one row per sample with an entropy per token, from a user's file
    "token_samples": _schema(position=INT, rollout_id=STRING, advantage=FLOAT, token_entropies=FLOATS),
    # judgments of a user's own file; verdicts are first | second | tie, of the two as they were shown
    "judge_verdicts": _schema(
        position=INT, judge=STRING, pair_id=STRING, first_id=STRING, second_id=STRING, verdict=STRING
    ),
    "judge_comparisons": _schema(judge=STRING, question_id=STRING, first_id=STRING, second_id=STRING, verdict=STRING),
    "texts": _schema(position=INT, text_id=STRING, text=STRING, group_id=STRING),
    "judge_labels": _schema(position=INT, row_id=STRING, judge_label=FLOAT),  # judge_label: [0, 1]; null = unread
    "bias_probes": _schema(
        position=INT,
        judge=STRING,
        bias=STRING,
        item_id=STRING,
        is_perturbed=BOOL,
        verdict=STRING,
        gold=STRING,
        pushed_to=STRING,
    ),
    "subset_counts": _schema(
        judge=STRING, subset_size=INT, num_subsets=INT, num_circle=INT, num_equal=INT, num_bad=INT
    ),
    "scored_pairs": _schema(
        position=INT, score_first=FLOAT, score_second=FLOAT, verdict=STRING, verdict_swapped=STRING
    ),
    "judged_pairs": _schema(
        position=INT,
        p_first=FLOAT,  # probability of the label for the one shown first, [0, 1]
        p_second=FLOAT,
        p_tie=FLOAT,
        p_first_swapped=FLOAT,  # the same in the swapped order
        p_second_swapped=FLOAT,
        p_tie_swapped=FLOAT,
        verdict=STRING,
        verdict_swapped=STRING,
        logprobs=FLOATS,  # of all tokens of the judge's answer
        logprobs_swapped=FLOATS,
    ),
    # one row per node of a search tree, as miners of pairs read it
    "tree_nodes": _schema(
        position=INT,
        tree_id=STRING,
        node_id=INT,
        parent_id=INT,  # null at the root
        problem_id=STRING,
        prompt=STRING,  # the problem's statement, at the root; null below it
        step_text=STRING,
        action=STRING,
        value=FLOAT,  # mean backed-up return
        raw_value=FLOAT,  # evaluator's estimate
        visit_count=INT,
        outcome_reward=FLOAT,  # 0.0 | 1.0 where a finished path ends that was graded, else null
        policy=STRING,  # version of the model that wrote the tree, at the root
    ),
    # one row per complete answer to a problem, as miners of pairs read it
    "responses": _schema(
        position=INT,  # order in which rejection sampling looks at them
        problem_id=STRING,
        group_id=STRING,  # answers are compared within it
        response_id=STRING,
        prompt=STRING,
        response=STRING,
        steps=STRINGS,  # null = not known by steps
        outcome_reward=FLOAT,  # 0.0 | 1.0; null = not graded
        score=FLOAT,  # a judge's or critic's; null = none
        policy=STRING,  # version of the model that wrote it
        is_teacher=BOOL,  # written by somebody better than the policy; null = no
        stratum=STRING,  # null = all in one
        strong_logprob=FLOAT,  # log-probability of the whole answer under the better aligned model
        weak_logprob=FLOAT,  # the same under its base
    ),
    # one row per critique and its refinements
    "critique_outcomes": _schema(
        position=INT,
        rollout_id=STRING,
        problem_id=STRING,
        critique_id=STRING,
        prompt=STRING,  # what the critic was asked
        critique=STRING,
        quality=FLOAT,  # the meta-critique's judgment, larger is better; null = none
        refinement_scores=FLOATS,  # of all refinements made with it; null = none
        policy=STRING,
    ),
    # one row per critique of a graded solution, as rewards of critics read it
    "judged_critiques": _schema(
        position=INT,
        rollout_id=STRING,
        critique=STRING,
        verdict=STRING,  # right | wrong; anything else = it could not be read
        original_reward=FLOAT,  # grade of the solution, 0.0 | 1.0; anything else is not known
        refinement_rewards=FLOATS,  # grades of the refinements made with the critique; null = none
        metric_before=FLOAT,  # any metric of the solution, larger is better
        metric_after=FLOAT,  # the same of the refinement
    ),
    # one row per solution whose steps were judged
    "judged_steps": _schema(position=INT, step_verdicts=STRINGS, outcome_reward=FLOAT),
    # one row per judgment of an item whose right verdict or score may be known
    "judgments": _schema(
        position=INT,
        item_id=STRING,
        judgment_id=STRING,
        prompt=STRING,  # what the judge was asked
        critique=STRING,  # its reasoning
        verdict=STRING,  # null = it could not be read
        label=STRING,  # the right verdict; null = not known
        score=FLOAT,
        label_score=FLOAT,
        response=STRING,  # what was judged
        deduced_response=STRING,  # what a weaker model thinks was judged, from the critique alone
    ),
    # one row per critique that may be imitated, before the limit per problem
    "critic_answers": _schema(
        row_id=STRING,
        place=INT,  # of its origin, in the configured order
        origin=STRING,
        problem_id=STRING,
        rollout_id=STRING,
        prompt=STRING,
        completion=STRING,
    ),
    # one row per pair of critiques, before the limit per problem
    "critic_pairs": _schema(
        pair_id=STRING,
        place=INT,
        method=STRING,
        problem_id=STRING,
        prompt=STRING,
        chosen=STRING,
        rejected=STRING,
        chosen_score=FLOAT,
        rejected_score=FLOAT,
    ),
    # one row per training row of a mixed RL set
    "mixed_rows": _schema(position=INT, row_id=STRING, is_judge=BOOL),
    # one row per refinement and the answer that it started from
    "tactics": _schema(
        position=INT,
        problem_id=STRING,
        tactic_id=STRING,
        state=STRING,
        tactic=STRING,
        result=STRING,
        is_on_proof=BOOL,
        policy=STRING,
    ),
    "refined_responses": _schema(
        position=INT,
        problem_id=STRING,
        prompt=STRING,
        original_id=STRING,
        original=STRING,
        original_reward=FLOAT,
        refinement_id=STRING,
        refinement=STRING,
        refinement_reward=FLOAT,
        policy=STRING,
    ),
    # one row per comparison of two answers to one problem
    "comparisons": _schema(
        position=INT,
        problem_id=STRING,
        prompt=STRING,
        first_id=STRING,
        second_id=STRING,
        first=STRING,
        second=STRING,
        preference=FLOAT,  # probability that the first is the better one, [0, 1]
        first_policy=STRING,
        second_policy=STRING,
    ),
    # one row per answer that rejection sampling accepted
    "accepted_responses": _schema(
        group_key=STRING,
        response_id=STRING,
        position=INT,
        round=INT,  # from 1
        seat=INT,  # order of acceptance in the group, from 0
    ),
    # one row per sampled text whose tokens are weighed
    "weighed_samples": _schema(
        position=INT,
        token_logprobs=FLOATS,  # under the policy
        better_logprobs=FLOATS,  # behind a prompt that asks for a better answer
        worse_logprobs=FLOATS,  # behind one that asks for a worse answer
    ),
    # one row per pair of children of one node, before their prefix is known
    "node_pairs": _schema(
        tree_id=STRING,
        parent_id=INT,
        chosen_node=INT,
        rejected_node=INT,
        chosen_text=STRING,
        rejected_text=STRING,
        chosen_score=FLOAT,
        rejected_score=FLOAT,
        soft_label=FLOAT,
    ),
    # one row per pair that a method proposes, before equal ones are merged and the limit is kept
    "pair_candidates": _schema(
        problem_id=STRING,
        prompt=STRING,
        chosen=STRING,
        rejected=STRING,
        chosen_score=FLOAT,
        rejected_score=FLOAT,
        soft_label=FLOAT,
        weight=FLOAT,
        chosen_policy=STRING,
        rejected_policy=STRING,
        chosen_id=STRING,
        rejected_id=STRING,
        place=INT,  # within the problem: the smaller one is preferred where there are more than the limit
        tie=STRING,  # decides where place and margin are equal
    ),
    # one row per pair of one method, on its way to `preference_pairs`
    "mined_pairs": _schema(
        position=INT,
        problem_id=STRING,
        kind=STRING,
        method=STRING,
        prompt=STRING,
        chosen=STRING,
        rejected=STRING,
        margin=FLOAT,
        chosen_score=FLOAT,
        rejected_score=FLOAT,
        soft_label=FLOAT,
        weight=FLOAT,
        chosen_policy=STRING,
        rejected_policy=STRING,
        chosen_id=STRING,
        rejected_id=STRING,
    ),
    # what a weight or filter says of each pair; null leaves it as it was
    "pair_decisions": _schema(
        position=INT,
        kept=BOOL,
        reason=STRING,  # snake_case word; null when kept
        score=FLOAT,  # the number that decided
        is_flipped=BOOL,  # chosen and rejected change places
        new_soft_label=FLOAT,
        new_margin=FLOAT,
        weight_factor=FLOAT,
    ),
    # one row per pair that a filter removed
    "pair_removals": _schema(position=INT, filter=STRING, reason=STRING, score=FLOAT),
    # rows of one published set; its other columns depend on the set
    "set_rows": _schema(problem_id=STRING),
    # one row per row of an older and of a newer version of a set; row_key: hash of its key columns
    "old_keys": _schema(position=INT, row_key=INT),
    "new_keys": _schema(position=INT, row_key=INT),
    # one row per step that a critic learns the value of, and where its label comes from
    # rollouts that wait for a person's review, or were reviewed
    "review_queue": _schema(position=INT, rollout_id=STRING),
    "step_labels": _schema(
        tree_id=STRING,  # tree or rollout
        problem_id=STRING,
        node=INT,  # index in the tree, root 0
        step_text=STRING,
        source=STRING,  # process_critic.labels: relative | monte_carlo | judge | ...
        target=FLOAT,  # [0, 1]
        weight=FLOAT,  # above 0
        num_right=FLOAT,  # right completions or votes behind the target; null = the label is no count
        num_total=FLOAT,
        is_guided=BOOL,  # a critic guided the search; null = not known
    ),
}
"""Relations that one query or program hands to another; they are never stored."""

# pairs with what is known of their sides
RELATIONS["all_pairs"] = RELATIONS["mined_pairs"]
RELATIONS["known_pairs"] = pa.schema(
    [
        *RELATIONS["mined_pairs"],
        pa.field("chosen_scores", FLOATS),  # one per member of an ensemble, in one order on both sides
        pa.field("rejected_scores", FLOATS),
        pa.field("chosen_logprobs", FLOATS),  # per token, under the policy
        pa.field("rejected_logprobs", FLOATS),
        pa.field("chosen_square_logprobs", FLOATS),  # per token, log of the sum of the squared probabilities
        pa.field("rejected_square_logprobs", FLOATS),
        pa.field("strengths", FLOATS),  # of annotators: from -3 to 3, above 0 for chosen
        pa.field("iteration", INT),  # round of training that it was made for
    ]
)

# the same as `responses`, of two policies: is_teacher = written by the updated one
RELATIONS["shifted_responses"] = RELATIONS["responses"]

SCHEMAS: dict[str, pa.Schema] = {
    # one row per distinct problem (not partitioned: a problem is the same every night)
    "problems": _schema(
        problem_id=STRING,  # stable hash of family + canonical form
        family=STRING,  # arithmetic | countdown | dial | the name of a configured source
        difficulty=INT,  # 1 (easy) upwards; null when the source does not say
        prompt=STRING,  # the statement as the policy sees it, without role or template
        reference_answer=STRING,
        split=STRING,  # train | held_out
        canonical=STRING,  # what the split is decided by (expression, not text)
        grader=STRING,  # name of the grading function: number | countdown | exact | math
        is_evaluation=BOOL,  # one of the frozen evaluation problems
        source=STRING,  # starter | path of the file it came from | new_problems/NIGHT
        source_line=INT,  # 1-based line or row in that file; null for generated problems
    ),
    # one row per node of a search tree; (tree_id, node_id) is the key; root is node 0 with parent_id null
    "search_nodes": _schema(
        tree_id=STRING,
        node_id=INT,
        parent_id=INT,
        problem_id=STRING,
        depth=INT,  # root 0
        node_kind=STRING,  # step | answer: every node of the tree is a whole answer, and its children are refinements
        action=STRING,  # kind of step where a recipe has several (strategy:NAME, reason, query, retrieve), else null
        step_text=STRING,  # text of the step that leads here (or of the answer), without its separator; "" at the root
        prior=FLOAT,  # selection weight as the recipe defines it; null at the root
        visit_count=INT,
        value=FLOAT,  # mean backed-up return through this node, [0, 1]; null when never visited
        raw_value=FLOAT,  # evaluator's estimate at expansion; null when never evaluated, or not known
        num_samples=INT,  # graded completions behind raw_value (0 for a critic's estimate)
        is_terminal=BOOL,
        outcome_reward=FLOAT,  # 0.0 | 1.0 at graded terminals, else null
        sum_logprob=FLOAT,  # sum of the step's token log-probabilities; of a given token there is none
        token_ids=INTS,  # the step's tokens, separator included; the path's tokens are exact prefixes
        request_id=STRING,  # generation request that proposed this step, or document:ID; null at the root
        night=STRING,
        is_guided=BOOL,  # a critic valued the tree's incomplete paths; null for imported trees
    ),
    # one row per edge, also where several parents lead to one node
    "search_edges": _schema(tree_id=STRING, from_node=INT, to_node=INT, action=STRING, night=STRING),
    # one row per complete root-to-answer path, from a tree or sampled on its own, failed ones included
    "rollouts": _schema(
        rollout_id=STRING,
        problem_id=STRING,
        group_id=STRING,  # independent samples only: the problem's group of n
        recipe=STRING,  # independent_samples | puct | ...
        tree_id=STRING,  # tree rollouts only
        leaf_node_id=INT,  # tree rollouts only
        policy_id=STRING,  # name of the model
        policy_version=STRING,  # digest of its weights
        night=STRING,
        seed=INT,
        sampling_digest=STRING,  # digest of temperature, stops, limits, prompt template
        steps=STRINGS,
        step_values=FLOATS,  # Monte Carlo value of each step's node (tree rollouts), else null; null for whole answers
        answer=STRING,  # extracted final answer; null when none was found
        outcome_reward=FLOAT,  # 0.0 | 1.0; null when not graded
        num_tokens=INT,  # completion tokens
        num_prompt_tokens=INT,
        prompt_token_ids=INTS,
        completion_token_ids=INTS,
        num_given_tokens=INT,  # completion tokens that the policy did not draw, such as those of retrieved documents
        token_logprobs=FLOATS,  # behaviour log-probabilities, one per completion token; null where some are given
        sum_logprob=FLOAT,  # null where some are given
        finish_reason=STRING,  # stop | length | error
        request_id=STRING,
        error=STRING,  # null unless the row failed
        is_guided=BOOL,  # found by a search that a critic guided; false for independent samples
    ),
    # one row per problem that was searched or sampled: what it cost, replayed answers counted as if asked again
    "token_usage": _schema(
        problem_id=STRING,
        stage=STRING,  # search | samples
        num_requests=INT,
        prompt_tokens=INT,  # once per request, whatever its number of samples
        completion_tokens=INT,  # all that was generated, also what no row shows
        critic_tokens=INT,  # read by a critic
        night=STRING,
    ),
    # one row per rollout step of the starter families, by the generator's own rules; reports only
    "gold_steps": _schema(rollout_id=STRING, step=INT, is_right=BOOL, night=STRING),
    # what search trees say of their steps (tree_extracts) -------------------------------------------
    # one row per (tree_id, node_id, method); a node that a method knows nothing of has no row
    "node_values": _schema(
        tree_id=STRING,
        node_id=INT,
        problem_id=STRING,
        method=STRING,  # completions | monte_carlo | beta_quantiles | td_lambda | rest_mcts
        value=FLOAT,  # [0, 1]
        low=FLOAT,  # completions, monte_carlo: Wilson's interval at 95 %, [0, 1]; else null
        high=FLOAT,
        num_right=INT,  # graded completions behind the value that were right; null for td_lambda and rest_mcts
        num_completions=INT,  # graded completions behind the value; null for td_lambda and rest_mcts
        quantiles=FLOATS,  # beta_quantiles: posterior quantiles at (2i - 1) / 2n for i = 1..n, rising; else null
        step_reward=FLOAT,  # rest_mcts: process reward w of the step, [-1, 1]; else null
        num_steps_left=INT,  # rest_mcts: fewest further steps to a right answer; else null
        night=STRING,
    ),
    # one row per finished wrong tree rollout whose problem was solved at least once in its tree
    "first_errors": _schema(
        rollout_id=STRING,
        problem_id=STRING,
        tree_id=STRING,
        step=INT,  # first step after which no evaluated continuation was right
        node_id=INT,  # that step's node
        last_good_node_id=INT,  # its parent, below which some continuation was right
        num_right_before=INT,  # right completions below last_good_node_id, at least 1
        num_completions_before=INT,  # graded completions below last_good_node_id
        num_completions_after=INT,  # graded completions from the wrong step on, none of them right
        confidence=FLOAT,  # chance that a step as good as its parent would have shown a success, [0, 1]
        night=STRING,
    ),
    # one row per distinct wrong path, up to its first error, that is led back to a right path of the same tree
    "splices": _schema(
        splice_id=STRING,
        problem_id=STRING,
        tree_id=STRING,
        rollout_id=STRING,  # the wrong rollout; of several with this error the first by id
        branch_node_id=INT,  # last node that both paths share
        wrong_node_ids=INTS,  # nodes of wrong_steps; the last one is the first error
        right_node_ids=INTS,  # nodes of right_steps; the last one is the right answer
        prompt=STRING,  # statement alone
        prefix_steps=STRINGS,  # steps that both paths share; empty where they part at the root
        wrong_steps=STRINGS,
        transition=STRING,  # thought that turns round
        right_steps=STRINGS,  # from branch_node_id to the right answer
        right_value=FLOAT,  # Monte Carlo value of the first of right_steps, [0, 1]
        wrong_value=FLOAT,  # the same for the first of wrong_steps
        value_gap=FLOAT,  # right_value - wrong_value, [-1, 1]
        night=STRING,
    ),
    # one row per distinct wrong attempt and right solution that keeps the steps before its first error
    "reflections": _schema(
        reflection_id=STRING,
        problem_id=STRING,
        tree_id=STRING,
        splice_id=STRING,
        rollout_id=STRING,  # the wrong attempt
        branch_node_id=INT,  # last node that attempt and correction share
        wrong_node_ids=INTS,  # the node of the first error, alone
        right_node_ids=INTS,  # nodes of the correction after branch_node_id; the last one is the right answer
        prompt=STRING,  # statement alone
        attempt=STRINGS,  # all steps of the wrong rollout
        first_error_step=INT,
        reflection=STRING,  # points to the first error
        correction=STRINGS,  # all steps of the right solution
        night=STRING,
    ),
    # one row per (rollout, step, source, scorer_version)
    "step_scores": _schema(
        rollout_id=STRING,
        step=INT,
        source=STRING,  # critic | monte_carlo | judge | formal
        scorer_version=STRING,
        score=FLOAT,  # [0, 1]; null = never scored
        num_samples=INT,  # evidence behind the score; null for a model's estimate
        disagreement=FLOAT,  # variance of the scores of an ensemble's members, [0, 1/4]; null without an ensemble
        member_scores=FLOATS,  # mean of each member of an ensemble, [0, 1], in the members' order; null without one
        night=STRING,
    ),
    # one row per (rollout, model): what a model says of the completion's tokens; failed ones included
    "token_scores": _schema(
        rollout_id=STRING,
        model_id=STRING,  # name of the scoring model
        model_digest=STRING,  # digest of its weights
        token_logprobs=FLOATS,  # nats, one per completion token, at temperature 1; null with error
        token_entropies=FLOATS,  # nats, of the distribution that each token was drawn from; null: vocabulary too large
        sum_logprob=FLOAT,  # of token_logprobs: log-probability of the completion, given the prompt
        num_tokens=INT,  # completion tokens; null with error
        self_certainty=FLOAT,  # mean over tokens of KL(uniform || p), nats, at least 0; null with token_entropies
        step_ends=INTS,  # per step, completion tokens up to its end, separator included; null: tokens and steps differ
        error=STRING,
        night=STRING,
    ),
    # one row per (rollout, agent)
    "critiques": _schema(
        critique_id=STRING,
        rollout_id=STRING,
        problem_id=STRING,
        agent=STRING,
        verdict=STRING,  # right | wrong; null with error
        first_error_step=INT,  # -1 = no error; null with error
        step_verdicts=STRINGS,  # right | wrong per step, as far as the agent said
        quality=FLOAT,  # the meta-critique's judgment, 0 at most, larger is better; null = nobody could judge it
        text=STRING,
        num_tokens=INT,
        num_prompt_tokens=INT,
        request_id=STRING,
        error=STRING,
        night=STRING,
    ),
    # one row per flaw that an agent found: a critique has at most one per step
    "critique_units": _schema(
        unit_id=STRING,
        critique_id=STRING,
        rollout_id=STRING,
        problem_id=STRING,
        agent=STRING,
        step=INT,
        flaw=STRING,  # null = the agent did not say what is wrong
        suggestion=STRING,  # what should stand there; null = the agent did not say
        criterion=STRING,  # calculation | answer, or what the agent said; null = not known
        severity=INT,  # 1..5 as the agent said; null = it did not
        category=STRING,  # the meta-critique: confirmed | contested | unheard, or a model's; null with error
        support=FLOAT,  # weighted share of the other agents that call the step wrong too; null = nobody else spoke
        meta_severity=INT,  # how bad the unit is, 1..5, by a model; null = judged by the other agents
        kept=BOOL,  # in the final critique
        reason=STRING,  # why not: verdict_right | not_wrong_by_vote | not_confirmed | not_the_best; null when kept
        error=STRING,
        night=STRING,
    ),
    # one row per criticised rollout: the aggregate of its critiques
    "verdicts": _schema(
        rollout_id=STRING,
        problem_id=STRING,
        verdict=STRING,
        confidence=FLOAT,  # weighted share of the agents that agree, [0, 1]
        first_error_step=INT,
        num_agents=INT,  # agents whose critique could be read
        critique_id=STRING,  # of the final critique, which refinements follow; null with error
        text=STRING,  # the final critique; null with error
        num_units=INT,  # of the final critique
        crucial_information=STRING,  # JSON: task, criteria, reference as agents were shown them
        error=STRING,
        night=STRING,
    ),
    # one row per refinement of a rollout after a critique
    "refinements": _schema(
        refinement_id=STRING,
        rollout_id=STRING,
        problem_id=STRING,
        critique_id=STRING,
        steps=STRINGS,
        answer=STRING,
        outcome_reward=FLOAT,
        num_tokens=INT,
        num_prompt_tokens=INT,
        request_id=STRING,
        error=STRING,
        night=STRING,
    ),
    # one row per thing that a critic, judge or refiner can learn from, by another method than multi_critique
    "critique_records": _schema(
        record_id=STRING,
        method=STRING,  # name in the catalogue
        kind=STRING,  # what the record is, in the method's words
        problem_id=STRING,
        rollout_id=STRING,  # the criticised solution; null = it is about none or several
        step=INT,  # the step that it is about; null = about the whole
        agent=STRING,  # who criticised; null = nobody, or several
        prompt=STRING,  # what a model is asked
        response=STRING,  # what it should learn to say, or what it said; null with error
        rejected=STRING,  # the worse response of a pair; null = no pair
        roles=STRINGS,  # user | assistant of each message of an episode; null = prompt and response are all
        contents=STRINGS,  # the messages
        is_learned=pa.list_(BOOL),  # per message: the loss counts it
        predicted=STRING,  # what the critic or judge concluded; null = it could not be read
        label=STRING,  # what it should have concluded; null = not known
        reward=FLOAT,  # as the method defines it; null = none
        logprob=FLOAT,  # mean log-probability per token of what is learned, under the policy; null = not measured
        kept=BOOL,  # worth learning from
        reason=STRING,  # why not, a snake_case word; null when kept
        num_requests=INT,
        num_failed=INT,  # of them, without an answer
        num_tokens=INT,  # generated
        num_prompt_tokens=INT,
        request_ids=STRINGS,
        error=STRING,
        night=STRING,
    ),
    # one row per problem that the policy was asked to pose
    "new_problems": _schema(
        candidate_id=STRING,
        method=STRING,  # name in the catalogue
        source_problem_id=STRING,  # the training problem that it was made from
        answer_margin=FLOAT,  # how certain the policy was of that one, [0, 1]; null: the method does not ask
        problem_id=STRING,  # its own, as a problem; null = no statement could be read
        family=STRING,  # the source's
        difficulty=INT,  # of starter problems; else null
        prompt=STRING,  # the statement; null = none could be read
        canonical=STRING,  # what its split is decided by; null = no statement could be read
        grader=STRING,  # the source's
        reference_answer=STRING,  # null = not known
        answered_by=STRING,  # verifier (exact, by the family's rules) | consensus (of samples); null = not known
        answerability=FLOAT,  # exact: 0 or 1; else share of the grades that say so; null = not graded
        faithfulness=FLOAT,  # the same
        num_grades=INT,  # grades that could be read; 0 where the family's rules decide; null = not graded
        agreement=FLOAT,  # share of the sampled solutions that give the reference answer; null = not sampled
        num_solutions=INT,  # sampled; null = not sampled
        kept=BOOL,
        reason=STRING,  # why not: request_failed | cut_off | unreadable | held_out | duplicate | repeated |
        # benchmark_overlap | unreadable_grades | unanswerable | unfaithful | no_consensus; null when kept
        request_id=STRING,  # the request that wrote the statement's (last) words; null = never sent
        request_ids=STRINGS,  # the others: earlier pieces of the statement, grades, solutions
        num_requests=INT,
        num_failed=INT,  # of them, without an answer
        num_tokens=INT,  # generated
        num_prompt_tokens=INT,
        error=STRING,
        night=STRING,
    ),
    # one row per preference pair
    "preference_pairs": _schema(
        pair_id=STRING,
        problem_id=STRING,
        kind=STRING,  # step | ppm_step | branch | path | rollout | critique | refinement | policy_shift
        method=STRING,  # name in the catalogue of what made it
        prompt=STRING,  # statement and shared prefix
        chosen=STRING,
        rejected=STRING,
        margin=FLOAT,  # chosen_score - rejected_score, or what a method of weighing put there
        chosen_score=FLOAT,  # what the method compared: value of a step, outcome plus mean step score of a rollout, ...
        rejected_score=FLOAT,
        soft_label=FLOAT,  # probability that chosen is the better one, [0.5, 1]; null = taken for certain
        weight=FLOAT,  # factor of the pair's loss, at least 0; 1.0 where no method says otherwise
        chosen_policy=STRING,  # version of the model that wrote it; null = not known
        rejected_policy=STRING,
        chosen_id=STRING,  # tree_id:node_id (path: of its leaf), rollout_id, critique_id or refinement_id
        rejected_id=STRING,
        night=STRING,
    ),
    # one row per pair that a miner made: kept, or which filter removed it and why
    "pair_results": _schema(
        pair_id=STRING,  # of preference_pairs where it is kept
        problem_id=STRING,
        kind=STRING,
        method=STRING,  # that mined it
        chosen_id=STRING,
        rejected_id=STRING,
        margin=FLOAT,
        kept=BOOL,
        filter=STRING,  # the weight or filter that removed it, by its configured name; null when kept
        reason=STRING,  # stable snake_case word; null when kept
        score=FLOAT,  # the number that decided; null = none, or kept
        night=STRING,
    ),
    # one row per (pair, order): what a judge says of tonight's preference pairs
    "pair_judgments": _schema(
        pair_id=STRING,
        problem_id=STRING,
        method=STRING,  # that mined the pair
        judge=STRING,  # name of the model
        judge_version=STRING,
        shown_first=STRING,  # chosen | rejected
        verdict=STRING,  # first | second | tie, as shown; null = none could be read
        p_first=FLOAT,  # probabilities of the labels where the judge says them in place, else null
        p_second=FLOAT,
        p_tie=FLOAT,
        request_id=STRING,  # null: read in place
        error=STRING,
        night=STRING,
    ),
    # one row per (rollout, method): kept or why not
    "consistency_results": _schema(
        rollout_id=STRING,
        problem_id=STRING,
        group_id=STRING,
        method=STRING,
        kept=BOOL,
        reason=STRING,  # stable snake_case word; null when kept
        score=FLOAT,
        night=STRING,
    ),
    # one row per rollout that the configured consistency method kept
    "consistent_rollouts": _schema(
        rollout_id=STRING,
        problem_id=STRING,
        group_id=STRING,
        method=STRING,
        outcome_reward=FLOAT,
        group_advantage=FLOAT,  # computed on the kept rollouts only
        score=FLOAT,
        night=STRING,
    ),
    # one row per trained critic
    "critics": _schema(
        critic_id=STRING,
        kind=STRING,  # process | outcome | preference
        path=STRING,  # folder of the checkpoint, relative to the workspace
        digest=STRING,  # digest of the weights
        night=STRING,
        fold=INT,  # null: trained on every training problem
        data_version=STRING,  # generation ids of the tables it learned from
        num_nodes=INT,
        num_problems=INT,
        metrics=STRING,  # JSON
    ),
    # one row per night: tonight's critic against the current one, on problems that neither has seen
    "critic_trials": _schema(
        critic_id=STRING,  # tonight's critic of all training problems
        current_id=STRING,  # the current one's; null where there was none
        is_promotable=BOOL,
        reason=STRING,  # first_critic | unchanged | not_comparable | not_worse | worse_on_evaluation |
        # worse_on_unguided | drift
        evaluation_difference=FLOAT,  # mean AUROC within frozen evaluation problems, tonight's minus current
        evaluation_low=FLOAT,  # 95 % interval of the difference, paired bootstrap over problems
        evaluation_high=FLOAT,
        num_evaluation_problems=INT,  # with right and wrong samples
        unguided_difference=FLOAT,  # the same within the problems of tonight's trees that no critic guided
        unguided_low=FLOAT,
        unguided_high=FLOAT,
        num_unguided_problems=INT,
        drift=FLOAT,  # population stability index of the scores of tonight's samples, at least 0
        num_drift_steps=INT,
        metrics=STRING,  # JSON: AUROC within problems of either critic by slice, and the limits that decided
        night=STRING,
    ),
    # one row per change of the current critic; (night, number) is the key
    "critic_promotions": _schema(
        number=INT,  # 0: by the night's own trial; from 1: by hand after it
        action=STRING,  # promoted | rolled_back
        reason=STRING,  # of the trial, or by_hand
        critic_night=STRING,  # night of the critics that are current from here on
        critic_id=STRING,  # the one of all training problems
        members=STRING,  # JSON: fold, critic_id, path and digest of every one of them
        decided_at=STRING,  # ISO 8601, UTC
        night=STRING,  # from here on; partition
    ),
    # one row per good rollout of a night before that is worth training on again; (rollout_id, night) is the key
    "replay": _schema(
        rollout_id=STRING,
        problem_id=STRING,
        steps=STRINGS,
        policy_version=STRING,  # digest of the model that wrote it, then
        score=FLOAT,  # lowest step score of the critic, then; null = not scored
        source_night=STRING,  # that it was made on
        num_nights_old=INT,  # 1 = made on the night before
        pass_rate_now=FLOAT,  # share of right samples of its problem on the latest night that sampled it
        night=STRING,  # that it is replayed on
    ),
    # one row per review of a rollout by a person (`reasonmill datasets review import`); rows are only ever added,
    # and of several reviews by one person the last one counts
    "human_labels": _schema(
        review_id=STRING,
        rollout_id=STRING,
        problem_id=STRING,
        steps=STRINGS,  # as the reviewer read them
        first_error_step=INT,  # -1 = no error
        reviewer=STRING,
        reviewed_on=STRING,  # ISO 8601 date
        comment=STRING,  # null = none
        why=STRINGS,  # queues that it stood in: audited_sample | disagreements | name of a set; null = not said
        is_blind=BOOL,  # the reviewer did not see what machines say; null = not said
        import_number=INT,  # rises with every import; at most the first number of the generation that brought the row
        night=STRING,  # of the rollout; partition
    ),
    # training sets ------------------------------------------------------------------------------
    # origin: consistent_rollouts | search | refinements | replay
    "sft": _schema(prompt=STRING, completion=STRING, problem_id=STRING, rollout_id=STRING, origin=STRING, night=STRING),
    "preference": _schema(
        prompt=STRING,
        chosen=STRING,
        rejected=STRING,
        margin=FLOAT,
        chosen_score=FLOAT,
        rejected_score=FLOAT,
        soft_label=FLOAT,
        weight=FLOAT,
        method=STRING,
        problem_id=STRING,
        pair_id=STRING,
        night=STRING,
    ),
    "stepwise": _schema(
        prompt=STRING,
        completions=STRINGS,
        labels=pa.list_(BOOL),
        soft_labels=FLOATS,
        visit_counts=INTS,
        problem_id=STRING,
        rollout_id=STRING,
        night=STRING,
    ),
    "prompts": _schema(
        prompt=STRING, reference_answer=STRING, problem_id=STRING, family=STRING, difficulty=INT, night=STRING
    ),
    "rl_groups": _schema(
        group_id=STRING,
        rollout_id=STRING,
        problem_id=STRING,
        prompt_token_ids=INTS,
        completion_token_ids=INTS,
        behaviour_logprobs=FLOATS,
        policy_version=STRING,
        reward=FLOAT,
        advantage=FLOAT,
        loss_weight=FLOAT,
        night=STRING,
    ),
    # reports ------------------------------------------------------------------------------------
    # one row per (strategy, seed) on the frozen evaluation problems
    "policy_report": _schema(
        strategy=STRING,
        num_problems=INT,
        accuracy=FLOAT,
        low=FLOAT,
        high=FLOAT,
        prompt_tokens=FLOAT,
        completion_tokens=FLOAT,
        critic_tokens=FLOAT,
        night=STRING,  # tokens: mean per problem
    ),
    # one row per (critic, metric, slice)
    "critic_report": _schema(critic_id=STRING, metric=STRING, slice=STRING, value=FLOAT, num=INT, night=STRING),
    # one row per stage of a night, as its last run did it
    "stage_usage": _schema(
        stage=STRING,  # step of the job, such as rollouts
        seconds=FLOAT,  # wall time of the step; null = not recorded
        num_requests=INT,  # null in this and the next ones: the stage asks no engine
        num_from_store=INT,  # of these, answered by the response store
        num_request_errors=INT,
        prompt_tokens=INT,  # of requests that an engine answered
        cached_tokens=INT,  # of these, found in a prefix cache
        completion_tokens=INT,
        engine_seconds=FLOAT,  # during which a request to the engine was under way; also null = not recorded
        engine=STRING,
        run_id=STRING,  # Dagster's
        ended_at=STRING,  # ISO 8601, UTC
        night=STRING,
    ),
    # one row per number of a night that is compared over nights; an unknown number has no row
    "night_metrics": _schema(metric=STRING, value=FLOAT, night=STRING),
    # one row per night: what made it
    "night_log": _schema(
        verdict=STRING,  # promote | hold
        reason=STRING,  # of the critic's trial
        policy_id=STRING,
        policy_version=STRING,  # digest of its weights; several joined by +
        critic_id=STRING,  # tonight's, of all training problems; null = none was trained
        guide_night=STRING,  # night of the critic that guided the search; null = none did
        engine=STRING,  # what answered the requests behind the rollouts
        code_digest=STRING,  # of the project's sources
        config=STRING,  # JSON: dotted key -> value of what is in force
        dataset_version=STRING,  # null = none was published
        generations=STRING,  # JSON: table -> generation
        seconds=FLOAT,  # of all stages before the report, added up; null = not recorded
        num_tokens=INT,  # completion tokens of all stages, replayed answers counted; null = not recorded
        reported_at=STRING,  # ISO 8601, UTC
        night=STRING,
    ),
}
# one row per independent sample of a frozen evaluation problem, for reports and trials of critics only
SCHEMAS["evaluation_rollouts"] = SCHEMAS["rollouts"]

# what the policy before its last update wrote, and what tonight's scorer says of it
RELATIONS["earlier_rollouts"], RELATIONS["earlier_scores"] = SCHEMAS["rollouts"], SCHEMAS["step_scores"]

TRAINING_SETS = ("sft", "preference", "stepwise", "prompts", "rl_groups")
UNPARTITIONED = ("problems",)
BY_PEOPLE = ("human_labels",)
"""Tables that no night makes: people add to them, about any night."""
