"""One process, or several that train one critic together through accelerate, each on its share of every batch.

Under `accelerate launch` with N processes every process holds the whole batch's labels and evaluates its share of the
rows, a contiguous piece of whole paths. The outputs of all shares are joined before the loss, which every process
computes for the whole batch, so that weighted means, pairs of siblings and bags are what one process would see,
wherever the batch was cut. Gradients flow into a process's own outputs; accelerate averages them over processes and the
loss is N times as large, so their sum remains: N processes end with the weights of one (1e-5).

The network is copied (data parallelism), or weights, gradients and optimiser state are sharded over the processes by
torch's `fully_shard` (FSDP2); accelerate's own plugin for it leaves a network on CPUs as it is, and could not be tested
there. All processes must see the same folders; the first one writes.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from accelerate import Accelerator

Value = TypeVar("Value")


@dataclass(frozen=True)
class Team:
    """The processes that train together."""

    accelerator: "Accelerator | None" = None  # None: this process alone
    is_sharded: bool = False  # no process holds all weights

    @property
    def size(self) -> int:
        return 1 if self.accelerator is None else self.accelerator.num_processes

    @property
    def rank(self) -> int:
        return 0 if self.accelerator is None else self.accelerator.process_index

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def prepared(self, critic: PreTrainedModel) -> nn.Module:
        """The network as every process of the team uses it; optimisers are made of its parameters."""
        if self.accelerator is None:
            return critic
        if not self.is_sharded:
            return self.accelerator.prepare_model(critic)
        mesh = init_device_mesh(self.accelerator.device.type, (self.size,))
        for module in critic.modules():
            if type(module).__name__ in (critic._no_split_modules or ()):  # its layers, as transformers names them
                fully_shard(module, mesh=mesh)
        return fully_shard(critic, mesh=mesh)

    def rows_of(self, num_rows: int) -> range:
        """The rows of a batch that this process evaluates; where there are fewer rows than processes, maybe none."""
        return range(num_rows * self.rank // self.size, num_rows * (self.rank + 1) // self.size)

    def joined(self, own_MK: Tensor, start: int, num_nodes: int) -> Tensor:
        """(N, K): the outputs of the whole batch, of which the M from `start` on are this process's own and learn."""
        if self.size == 1:
            return own_MK
        all_NK = own_MK.new_zeros(num_nodes, own_MK.shape[-1])
        all_NK[start : start + len(own_MK)] = own_MK.detach()
        torch.distributed.all_reduce(all_NK)
        return torch.cat([all_NK[:start], own_MK, all_NK[start + len(own_MK) :]])

    def agreed(self, value: Value) -> Value:
        """What the first process found, for all."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Until every process is here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

    def trained_weights(self, critic: nn.Module) -> dict[str, Tensor]:
        """What training changes, whole, on the CPU; every process has to ask."""
        return {name: _whole(weight) for name, weight in _trained(critic)}

    def load_weights(self, critic: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Puts what `trained_weights` gave back into the network."""
        with torch.no_grad():
            for name, weight in _trained(critic):
                weight.copy_(_sharded_as(weight, weights[name]))

    def optimiser_state(self, optimiser: torch.optim.Optimizer) -> Mapping:
        """The whole state, on the CPU; every process has to ask."""
        state = optimiser.state_dict()
        return {
            **state,
            "state": {i: {k: _whole(v) for k, v in of_one.items()} for i, of_one in state["state"].items()},
        }

    def load_optimiser(self, optimiser: torch.optim.Optimizer, state: Mapping) -> None:
        """Puts what `optimiser_state` gave back into the optimiser."""
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        parts = {
            i: {k: _sharded_as(weights[i], v) if v.shape == weights[i].shape else v for k, v in of_one.items()}
            for i, of_one in state["state"].items()
        }
        optimiser.load_state_dict({**state, "state": parts})


def launched_team(device: str, sharded: bool = False) -> Team:
    """The processes that `accelerate launch` (or torchrun) started together with this one; alone without a launcher."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Team()
    from accelerate import Accelerator

    return Team(Accelerator(cpu=device == "cpu"), sharded)


def _trained(critic: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Trained weights by their names without what data parallelism puts before them."""
    for name, weight in critic.named_parameters():
        if weight.requires_grad:
            yield name.removeprefix("module."), weight


def _whole(tensor: Tensor) -> Tensor:
    found = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return found.detach().cpu().clone()


def _sharded_as(weight: Tensor, whole: Tensor) -> Tensor:
    """A whole tensor in the shards of a weight, where it has any."""
    if not isinstance(weight, DTensor):
        return whole
    return distribute_tensor(whole.to(weight.device), weight.device_mesh, weight.placements)
