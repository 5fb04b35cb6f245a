import base64
import json
import struct

import pytest

from pipelines.inference.errors import ServerError
from pipelines.inference.pooling import parse_outputs, pooling_body


def encoded(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def answer(*items):
    return json.dumps({"data": [{"index": index, "data": data} for index, data in items]}).encode()


def test_rows_travel_as_token_ids_and_ask_for_raw_outputs():
    body = pooling_body("critic", [(3, 1), (4,)])
    assert (body["input"], body["task"], body["use_activation"]) == ([[3, 1], [4]], "token_classify", False)


def test_outputs_are_one_vector_per_token_in_the_order_of_the_rows():
    outputs = parse_outputs(answer((1, encoded(0.5, -2.0)), (0, encoded(1.0, 2.0, 3.0, 4.0))), [[7, 8], [9]])
    assert [of_row.tolist() for of_row in outputs] == [[[1.0, 2.0], [3.0, 4.0]], [[0.5, -2.0]]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>busy</html>", "holds no outputs of tokens: '<html>busy"),
        (b'{"data": 3}', "holds no outputs"),
        (answer((0, "###")), "holds no outputs"),
        (answer(), "answered 0 rows where 1 were asked for"),
        (answer((0, encoded(1.0, 2.0, 3.0))), "sent 3 numbers"),
        (answer((0, encoded(1.0, float("nan")))), "not finite, for a row of 2 tokens"),
        (answer((0, "")), "sent 0 numbers"),
    ],
)
def test_any_other_answer_is_a_server_error(body, message):
    with pytest.raises(ServerError, match=message):
        parse_outputs(body, [[1, 2]])
