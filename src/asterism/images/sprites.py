"""Thumbnails, many to a sheet: ten thousand pictures are a few dozen images, each decoded when looked at."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from asterism.images.source import ImageSource, stretched

SHEET_SIDE = 1024  # pixels; a sheet is what the browser decodes at once
BLOCK = 16  # pixels; cells are whole blocks of the codec, so that no picture bleeds into its neighbour
WEBP = "data:image/webp;base64,"
QUALITY = 80  # of WebP; half the size of JPEG at this, and every browser since 2020 reads it


@dataclass
class Sprites:
    """Pictures of one size on sheets.

    Attributes
    ----------
    width, height : int
        Pixels of a picture.
    cell : (int, int)
        Width and height of its place on the sheet.
    columns, per_sheet : int
    sheets : list of str
        ``data:`` addresses.
    """

    width: int
    height: int
    cell: tuple[int, int]
    columns: int
    per_sheet: int
    sheets: list[str]

    @classmethod
    def of_size(cls, width: int, height: int, sheets: list[str]) -> Sprites:
        """Pictures of a size, on sheets that are laid out as `make_sprites` does it."""
        cell = (-(-width // BLOCK) * BLOCK, -(-height // BLOCK) * BLOCK)
        columns = max(1, SHEET_SIDE // cell[0])
        return cls(width, height, cell, columns, columns * max(1, SHEET_SIDE // cell[1]), sheets)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture."""
        return self.width, self.height

    @property
    def layout(self) -> dict[str, int | list[int]]:
        """Where the script finds picture i: everything but the pixels, as plain JSON."""
        return {
            "width": self.width,
            "height": self.height,
            "cell": list(self.cell),
            "columns": self.columns,
            "perSheet": self.per_sheet,
        }


def make_sprites(images: ImageSource, indices: np.ndarray, side: int) -> Sprites:
    """Thumbnails of chosen images.

    Parameters
    ----------
    images : ImageSource
    indices : integer ndarray of shape (n,)
        Which images, in the order of the sprites.
    side : int
        Longest side of a thumbnail, in pixels; smaller images keep their size.
    """
    _, height, width = images.shape
    scale = min(1.0, side / max(height, width))
    sprites = Sprites.of_size(max(1, round(width * scale)), max(1, round(height * scale)), [])
    for start in range(0, len(indices), sprites.per_sheet):
        pictures = list(_thumbnails(images, indices[start : start + sprites.per_sheet], sprites.size))
        sprites.sheets.append(_encode(_lay_out(pictures, sprites.cell)))
    return sprites


def morton_order(points: np.ndarray) -> np.ndarray:
    """Indices of points (n, 2 or more) along a Z-curve of their first two axes: neighbours share a sheet of sprites."""
    plane = points[:, [0, min(1, points.shape[1] - 1)]]
    low, high = plane.min(0), plane.max(0)
    grid = ((plane - low) * (1023 / max(float((high - low).max()), 1e-30))).astype(np.int64)
    key = np.zeros(len(points), dtype=np.int64)
    for bit in range(10):
        key |= ((grid[:, 0] >> bit) & 1) << (2 * bit) | ((grid[:, 1] >> bit) & 1) << (2 * bit + 1)
    return np.argsort(key, kind="stable")


def sprites_of(pictures: list[np.ndarray]) -> Sprites:
    """Sprites of pictures (h, w) or (h, w, 3), uint8, which are all of one size."""
    height, width = pictures[0].shape[:2]
    sprites = Sprites.of_size(width, height, [])
    for start in range(0, len(pictures), sprites.per_sheet):
        sprites.sheets.append(_encode(_lay_out(pictures[start : start + sprites.per_sheet], sprites.cell)))
    return sprites


def _thumbnails(images: ImageSource, indices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Chosen images as uint8 (n, h, w, 1 or 3) of a size (w, h).

    Images of more channels show their first three, of two both as red and green. All at once, by the kernel that torch
    has for bytes: one by one Pillow takes ten times as long.
    """
    block = _as_bytes(images.pixels[torch.from_numpy(np.ascontiguousarray(indices, dtype=np.int64))].cpu())
    block = pad(block, (0, 1)) if block.shape[3] == 2 else block[..., :3]  # (n, H, W, C)
    if (block.shape[2], block.shape[1]) != size:
        shrunk = interpolate(block.permute(0, 3, 1, 2), size[::-1], mode="bicubic", antialias=True)
        block = shrunk.permute(0, 2, 3, 1)
    return block.numpy()


def _as_bytes(block: torch.Tensor) -> torch.Tensor:
    """Pixels (n, H, W, C) as uint8: floats in [0, 1] are scaled, others stretched, each image by its own range."""
    if block.dtype == torch.uint8:
        return block
    block = torch.nan_to_num(block.float())
    if float(block.min()) < 0 or float(block.max()) > 1:
        block = stretched(block)
    return (block * 255).round().to(torch.uint8)


def _lay_out(pictures: list[np.ndarray], cell: tuple[int, int]) -> np.ndarray:
    """One sheet of equal pictures, row by row, each continued by its own edge to the end of its cell."""
    width, height = cell
    columns = max(1, SHEET_SIDE // width)
    rows = -(-len(pictures) // columns)
    block = np.stack([one if one.ndim == 3 else one[:, :, None] for one in pictures])  # (n, h, w, C)
    n, h, w, channels = block.shape
    block = np.pad(block, ((0, rows * columns - n), (0, height - h), (0, width - w), (0, 0)), mode="edge")
    grid = block.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def _encode(sheet: np.ndarray) -> str:
    file = io.BytesIO()
    picture = Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)
    picture.save(file, "WEBP", quality=QUALITY, method=2)
    return WEBP + base64.b64encode(file.getvalue()).decode("ascii")
