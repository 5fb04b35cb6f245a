import torch

from critics.batches import collate, encode_examples, epoch_batches
from critics.examples import StepExamples, examples_from_trees, tree_example
from critics.model import load_encoder
from tests.critics.conftest import make_node, verify_prompt


def test_a_batch_reads_each_node_at_the_end_of_its_step_and_shifts_pairs(language_model):
    nodes = [make_node(0, None, ""), make_node(1, 0, "a", 2, 2), make_node(2, 0, "bb", 0, 2)]
    examples = StepExamples((tree_example(nodes, "<verify>1\n"), tree_example(nodes, "<verify>12\n")))
    batch = collate(encode_examples(examples, load_encoder(language_model), batch_size=8))
    assert batch.rows_N.tolist() == [0, 1, 2, 3]
    assert batch.positions_N.tolist() == [4, 5, 5, 6]  # "_1\na\n", "_1\nbb\n", "_12\na\n", "_12\nbb\n"
    assert (batch.better_P.tolist(), batch.worse_P.tolist()) == ([0, 2], [1, 3])
    assert batch.ids_BT.shape == (4, 7)
    newline = batch.ids_BT[0, 4]
    assert torch.equal(batch.ids_BT[batch.rows_N, batch.positions_N], newline.expand(4))


def test_a_tree_that_is_larger_than_a_batch_loses_pairs_but_no_nodes(language_model):
    nodes = [make_node(0, None, ""), *(make_node(i, 0, "abcd"[i - 1] * i, i, 4) for i in range(1, 5))]
    examples = StepExamples((tree_example(nodes, "<verify>1\n"),))
    units = encode_examples(examples, load_encoder(language_model), batch_size=2)
    assert [len(unit.targets) for unit in units] == [2, 2]
    assert [len(unit.pairs) for unit in units] == [1, 1]


def test_an_epoch_holds_every_tree_once_in_a_seeded_order(language_model, toy_trees):
    examples = examples_from_trees(*toy_trees(30), verify_prompt)
    units = encode_examples(examples, load_encoder(language_model), batch_size=8)
    epochs = [list(epoch_batches(units, 8, seed, epoch)) for seed, epoch in ((0, 0), (0, 0), (0, 1))]
    assert sorted(id(unit) for batch in epochs[0] for unit in batch) == sorted(id(unit) for unit in units)
    assert all(sum(len(unit.rows) for unit in batch) <= 8 for batch in epochs[0])
    order = [[id(unit) for batch in epoch for unit in batch] for epoch in epochs]
    assert order[0] == order[1] != order[2]


def test_every_token_of_a_step_can_have_its_label(language_model):
    nodes = [make_node(0, None, ""), make_node(1, 0, "a", 2, 2), make_node(2, 0, "bb", 0, 2)]
    examples = StepExamples((tree_example(nodes, "<verify>1\n"),))
    encoder = load_encoder(language_model)
    batch = collate(encode_examples(examples, encoder, 8, every_token=True))
    assert batch.rows_N.tolist() == [0, 0, 1, 1, 1]  # "a\n", "bb\n"
    assert batch.positions_N.tolist() == [3, 4, 3, 4, 5]
    assert batch.targets_N[0] == batch.targets_N[1] == 1.0
    assert (batch.better_P.tolist(), batch.worse_P.tolist()) == ([1], [4])  # pairs are compared at the ends


def test_steps_beyond_the_context_are_left_out(language_model):
    nodes = [make_node(0, None, ""), make_node(1, 0, "1" * 20, 2, 2), make_node(2, 1, "2" * 60, 2, 2)]
    (unit,) = encode_examples(StepExamples((tree_example(nodes, "<verify>1\n"),)), load_encoder(language_model), 8)
    assert (unit.read_position, unit.read_row, len(unit.rows)) == ([23], [0], 1)
