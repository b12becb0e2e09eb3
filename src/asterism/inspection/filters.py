"""What filters respond to: the first layer's weights, images made for a filter, the images that it responds to most
(DeepCluster §4.2, Figs. 3 to 5).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from asterism.errors import InputError
from asterism.features.extract import feature_batches
from asterism.images import ImageSource
from asterism.networks.body import Body
from asterism.networks.sobel import sobel
from asterism.runtime import usual_torch
from asterism.training import Run

BLUR_EVERY, BLUR = 5, 0.3  # steps, and the deviation of the blur in pixels (docs/papers/deepcluster.md)
MIDDLE, LEVELS = 128, 64  # the level of grey of a mean pixel, and levels to a standard deviation of ordinary photos
SHRINK = 1e-5  # weight of ‖x‖²


def first_layer(body: Body) -> torch.Tensor:
    """The first convolution's filters, as pixels that they look for (Fig. 3).

    Parameters
    ----------
    body : Body
        Any network; its first convolution is taken.

    Returns
    -------
    torch.Tensor of shape (filters, C, k, k)
        With a Sobel front (filters, 1, k + 2, k + 2): front and filter together are one linear filter on grey pixels.
    """
    first = next(layer for layer in body.modules() if isinstance(layer, torch.nn.Conv2d))
    weight = first.weight.detach().cpu()
    if body.front is None or not body.front.edges:
        return weight
    # front and filter are linear: their response to each single pixel is the filter on pixels
    side = weight.shape[2] + 2
    pixels = torch.eye(side * side).view(side * side, 1, side, side)
    edges = sobel(F.pad(pixels, (1, 1, 1, 1)))[:, :, 2:-2, 2:-2]  # the k × k window in the middle
    return F.conv2d(edges, weight)[:, :, 0, 0].T.reshape(len(weight), 1, side, side)


@usual_torch()
def maximise_activation(
    body: Body,
    layer: str,
    filters: list[int],
    shape: tuple[int, int, int],
    run: Run,
    *,
    n_steps: int = 1000,
    lr: float = 3.0,
) -> torch.Tensor:
    """Images to which one filter responds more than the others of its layer, by gradient ascent (Figs. 4, 5).

    A filter's response is the mean of its map over all places. What is raised is the log softmax of the filter's
    response among those of its layer, less 1e-5·‖x‖² for an image x in levels of grey. Each step follows the gradient
    scaled to length 1; every fifth step blurs the image slightly (docs/papers/deepcluster.md). For a filter that
    responds to nothing only the other filters count: the released code takes its map before the ReLU.

    Parameters
    ----------
    body : Body
        On the run's device, in evaluation mode.
    layer : str
    filters : list of int
    shape : tuple of int
        (C, H, W).
    run : Run
    n_steps, lr
        1000 and 3 in the released code.

    Returns
    -------
    torch.Tensor of shape (len(filters), C, H, W)
        In [0, 1]: mean 0.5, standard deviation 0.1, clipped.

    Raises
    ------
    InputError
        If the network is none of those that DeepCluster trains.
    """
    front = body.eval().front
    if front is None:
        raise InputError(f"a {type(body).__name__} is not drawn for: it says no mean and deviation of its pixels")
    noise = torch.randn(len(filters), *shape, generator=run.generator("seeing", layer)) * 20 + MIDDLE
    grey = noise.to(front.std.device)  # in the 256 levels of grey that the released code's images are in
    chosen = torch.tensor(filters, device=grey.device)
    for step in range(n_steps):
        grey = grey.detach().requires_grad_()
        images = (grey - MIDDLE) * front.std / LEVELS + front.mean
        responses = body.maps(images, [layer])[layer].mean((2, 3))  # (n, filters)
        wanted = F.log_softmax(responses, 1).gather(1, chosen[:, None]).sum() - SHRINK * grey.square().sum()
        (gradient,) = torch.autograd.grad(wanted, grey)
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        grey = grey.detach() + lr * gradient / length
        if step % BLUR_EVERY == 0:
            grey = _blurred(grey)
    flat = grey.detach().cpu()
    middle, spread = flat.mean((1, 2, 3), keepdim=True), flat.std((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return ((flat - middle) / spread * 0.1 + 0.5).clamp(0, 1)


def _blurred(images: torch.Tensor) -> torch.Tensor:
    steps = torch.arange(-1.0, 2.0, device=images.device)
    kernel = torch.exp(-0.5 * (steps / BLUR) ** 2)
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    channels = images.shape[1]
    weight = kernel.expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), weight, groups=channels)


@usual_torch()
def strongest(body: Body, layer: str, images: ImageSource, run: Run, n: int = 9) -> torch.Tensor:
    """For each filter of a layer, the images with the highest spatial mean of its map (Fig. 5).

    Returns
    -------
    torch.Tensor of shape (filters, n), int64
        Numbers of images, strongest first. One forward pass; memory O(filters·n).
    """

    def responses(batch: torch.Tensor) -> torch.Tensor:
        return body.maps(batch, [layer])[layer].mean((2, 3))

    best: torch.Tensor | None = None  # (n, filters) responses
    who = torch.zeros(0, 0, dtype=torch.int64)
    for indices, values in feature_batches(body, images, run.runtime, responses):
        values, numbers = values.cpu(), indices[:, None].expand(values.shape)
        if best is not None:
            values, numbers = torch.cat([best, values]), torch.cat([who, numbers])
        best, order = values.topk(min(n, len(values)), dim=0)
        who = numbers.gather(0, order)
    return who.T
