"""What serves a model is chosen by a table."""

import typing

from pipelines.config import EngineConfig
from pipelines.inference.session import OPENERS


def test_every_mode_of_the_configuration_has_an_opener():
    assert set(OPENERS) == set(typing.get_args(EngineConfig.model_fields["mode"].annotation))
