"""Networks of other libraries as chains of steps: one pass shows their layers, tracing gives the steps."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import fx, nn

from asterism.networks.body import POOLINGS, Body

PASSING = (*POOLINGS, nn.Dropout, nn.Flatten)
ALONE = (*PASSING, nn.Conv2d)  # no layers: their maps have not been through batch norm and ReLU


class ForeignBody(Body):
    """A network of another library behind a front of ours.

    Its layers are its direct parts that hold convolutions and give maps: ``layer1`` … ``layer4`` of a ResNet,
    ``features`` of a MobileNet. The last part whose maps have more than one place is a layer too.

    A subclass names its front and that network, and calls `find_layers` when both are there.
    """

    FRONT: ClassVar[str]
    INNER: ClassVar[str]
    paths: dict[str, str]  # of each layer, the module within the inner network whose output its maps are

    @torch.no_grad()
    def find_layers(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """Find the layers by a pass over one image (C, H, W) of zeros; returns the features of it."""
        parts = {name: one for name, one in self._inner.named_children() if not isinstance(one, ALONE)}
        sizes: dict[str, torch.Size] = {}

        def note(name: str, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4:
                sizes[name] = output.shape

        with watched(parts, note):
            features = self(torch.zeros(1, *shape, device=next(self.parameters()).device))
        spatial = [name for name, size in sizes.items() if min(size[2:]) > 1]
        convolutional = {name for name in sizes if any(isinstance(one, nn.Conv2d) for one in parts[name].modules())}
        chosen = convolutional | set(spatial[-1:])
        self.paths = {name: _end(name, parts[name]) for name in sizes if name in chosen}
        self.layer_names = tuple(self.paths)
        return features

    @property
    def _inner(self) -> nn.Module:
        return self.get_submodule(self.INNER)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D)."""
        return self._inner(self.get_submodule(self.FRONT)(images)).flatten(1)

    def steps(self) -> dict[str, nn.Module]:
        """The front, the parts of `traced_steps`, and the flattening of the features."""
        front = {self.FRONT: self.get_submodule(self.FRONT)}
        return {**front, **traced_steps(self._inner, self.paths), "flat": nn.Flatten()}

    def maps(self, images: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Outputs of the named layers."""
        found: dict[str, torch.Tensor] = {}
        with watched({name: self._inner.get_submodule(self.paths[name]) for name in names}, found.__setitem__):
            self(images)
        return found


@contextmanager
def watched(modules: Mapping[str, nn.Module], note: Callable[[str, Any], None]) -> Iterator[None]:
    """Call ``note(name, output)`` whenever one of these modules has run."""

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _end(path: str, part: nn.Module) -> str:
    """Path of the module that ends a part, its pooling left out."""
    while isinstance(part, nn.Sequential):
        name, part = [(name, one) for name, one in part.named_children() if not isinstance(one, PASSING)][-1]
        path = f"{path}.{name}"
    return path


def traced_steps(network: nn.Module, paths: dict[str, str]) -> dict[str, nn.Module]:
    """Cut a network at every place where a single tensor passes from what comes before to what comes after.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; its steps share its weights.
    paths : dict of str to str
        Names of the steps that end with these modules; the others are called by their own last module.

    Returns
    -------
    dict of str to nn.Module
        In order. The whole in one step where a network cannot be traced.
    """
    try:
        traced = fx.symbolic_trace(network)
    except Exception:  # whatever the model's Python raises on symbols
        return {"network": network}
    *nodes, output = traced.graph.nodes
    places = _narrow_places(nodes)
    if output.args[0] is not places[-1] or nodes[0] is not places[0]:
        return {"network": network}
    ends = {}
    for node in nodes:
        for path, _ in node.meta.get("nn_module_stack", {}).values():
            ends[path] = node
    names = {ends[path]: name for name, path in paths.items() if path in ends}
    position = {node: i for i, node in enumerate(nodes)}
    steps: dict[str, nn.Module] = {}
    for before, last in pairwise(places):
        inside = nodes[position[before] + 1 : position[last] + 1]
        own = str(last.target) if last.op == "call_module" else last.name
        own = f"{own} {position[last]}" if own in steps or own in paths else own  # a module that runs twice
        steps[names.get(last, own)] = _step(traced, before, inside)
    return steps


def _narrow_places(nodes: list[fx.Node]) -> list[fx.Node]:
    """The nodes behind which nothing of what stands before them is used any more but their own tensor."""
    position = {node: i for i, node in enumerate(nodes)}
    last_use = {node: max((position.get(user, len(nodes)) for user in node.users), default=-1) for node in nodes}
    places: list[fx.Node] = []
    needed: list[fx.Node] = []
    for i, node in enumerate(nodes):
        needed = [one for one in (*needed, node) if last_use[one] > i]
        unpacked = any(user.target is operator.getitem for user in node.users)
        if needed == [node] and node.op != "get_attr" and not unpacked:
            places.append(node)
    return places


def _step(traced: fx.GraphModule, before: fx.Node, nodes: list[fx.Node]) -> nn.Module:
    """What happens between two places, as a module: the network's own where it is a single one."""
    (only, *others) = nodes
    if not others and only.op == "call_module" and only.args == (before,) and not only.kwargs:
        return traced.get_submodule(str(only.target))
    graph = fx.Graph()
    copies = {before: graph.placeholder("values")}
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[nodes[-1]])
    return fx.GraphModule(traced, graph)


def weighted_layers(step: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers of a step, in the order of their running."""
    modules = step.modules()
    if isinstance(step, fx.GraphModule):
        modules = (step.get_submodule(str(node.target)) for node in step.graph.nodes if node.op == "call_module")
    return [one for one in dict.fromkeys(modules) if isinstance(one, (nn.Conv2d, nn.Linear))]
