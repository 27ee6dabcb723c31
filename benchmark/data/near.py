"""Near duplicates: images of a data set that show the same but for noise, brightness, contrast or compression.

Medical images of one kind look alike: two chests correlate at 0.9, two retinas at 0.98, and what they share does not
say whose they are. So that is taken away first. With x an image as a vector over pixels and channels,

    z = (x - mean(x)) / |x - mean(x)|                    brightness and contrast do not count
    a = (z - m) - P (z - m),   m = mean over the images  nor does what the data set has in common: its mean image and
                                                         the span P of its first principal components
    similarity(x, y) = <a_x, a_y> / (|a_x| |a_y|)        in [-1, 1]; 1 for a copy

With the mean image alone this is the anomaly correlation of weather forecasts (Wilks, Statistical Methods in the
Atmospheric Sciences); components go for the reason for which eigenfaces drop the first ones (Belhumeur et al., IEEE
TPAMI 1997, section 2.2): they hold frame, camera and exposure. Images that are near through a chain of others share a
group. Shifted, mirrored and turned copies are not looked for.

Comparing 100,000 images pixel by pixel takes many minutes. But a projection Q never lengthens a vector, not even with
the length of what it drops as one more coordinate: with u = a / |a| and r_u = |u - Qu|,

    |Qu - Qv|^2 + (r_u - r_v)^2  <=  |u - v|^2  =  2 - 2 similarity

so that pairs which are too far apart in a few coordinates are ruled out, and no near one is.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from benchmark.data.duplicates import duplicate_groups
from benchmark.data.units import Rows

NEAR = 0.9
"""Similarity from which on images are called near duplicates."""
COMPONENTS = 8
"""Principal components that are removed; at most one for every 64 images, and for every 64 values of an image."""
COORDINATES = 64
"""Further components, in which pairs are compared first."""
SAMPLE = 5000
"""Images, evenly spaced, that mean image and components are computed of."""
BLOCK = 4096
"""Images that are compared at a time with as many others."""
BLANK = 1.0
"""Standard deviation in grey levels below which an image shows nothing that could be compared."""
MARGIN = 1e-4
"""Above float32's rounding errors."""


def near_groups(images: Tensor, threshold: float = NEAR) -> tuple[Rows, NDArray[np.float32]]:
    """Number the groups of images that are connected by a similarity of `threshold` or more.

    Args:
        images: uint8 (N, channels, height, width).
        threshold: in (0, 1].

    Returns:
        int64 (N,), the number of each image's group, from 0 in the order of first appearance, exact copies included.
        float32 (N,), 1 - similarity to the first image of the group: 0 for that one and its copies; for members of a
        chain it can be more than 1 - `threshold`.
    """
    copies = duplicate_groups(images)
    _, first = np.unique(copies, return_index=True)
    vectors, coordinates = _directions(images[torch.from_numpy(first)])
    group = np.arange(len(first))
    for left, right in _near_pairs(vectors, coordinates, threshold):
        group = _united(group, left, right)
    _, heads, group = np.unique(group, return_index=True, return_inverse=True)
    head = torch.from_numpy(heads[group])
    blocks = zip(vectors.split(BLOCK), head.split(BLOCK), strict=True)
    similarity = torch.cat([(part * vectors[rows]).sum(1) for part, rows in blocks]).numpy()
    distance = np.where(heads[group] == np.arange(len(group)), 0, 1 - similarity).clip(0)
    return group[copies], distance[copies].astype(np.float32)


def _directions(images: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors u, zero for blank images, and their coordinates for the first comparison.

    Returns:
        float32 (N, D) and float32 (N, at most COORDINATES + 1).
    """
    from sklearn.decomposition import PCA

    vectors = torch.empty(len(images), images[0].numel())
    for part, target in zip(images.split(BLOCK), vectors.split(BLOCK), strict=True):
        target.copy_(_standardised(part))
    sample = vectors[:: -(-len(vectors) // SAMPLE)]
    removed = min(COMPONENTS, min(sample.shape) // 64)
    number = min(removed + COORDINATES, *sample.shape)
    found = PCA(number, svd_solver="covariance_eigh" if number < len(sample) else "full").fit(sample.numpy())
    mean, components = torch.from_numpy(found.mean_), torch.from_numpy(found.components_)
    parts = vectors.split(BLOCK)  # views: those of 100,000 images fill a gigabyte, and once is enough
    for part in parts:
        blank = ~part.any(dim=1, keepdim=True)
        part.sub_(mean).sub_((part @ components[:removed].T) @ components[:removed])
        part.div_(part.norm(dim=1, keepdim=True).clamp_min(MARGIN)).masked_fill_(blank, 0)
    return vectors, torch.cat([_coordinates(part, components[removed:]) for part in parts])


def _coordinates(vectors: Tensor, components: Tensor) -> Tensor:
    """Those along the components, and the length of the rest."""
    along = vectors @ components.T
    rest = (vectors.square().sum(1) - along.square().sum(1)).clamp_min(0).sqrt()
    return torch.column_stack([along, rest])


def _standardised(images: Tensor) -> Tensor:
    """Mean 0 and length 1 for each image; blank ones are zero."""
    flat = images.flatten(1).float()
    flat -= flat.mean(1, keepdim=True)
    blank = flat.std(1, correction=0, keepdim=True) < BLANK
    flat /= flat.norm(dim=1, keepdim=True).clamp_min(MARGIN)
    return flat.masked_fill_(blank, 0)


def _near_pairs(vectors: Tensor, coordinates: Tensor, threshold: float) -> Iterator[tuple[Rows, Rows]]:
    """Rows of images that are near each other, block after block."""
    squares = coordinates.square().sum(1)
    limit = 2 - 2 * threshold + MARGIN
    for start in range(0, len(vectors), BLOCK):
        for other in range(start, len(vectors), BLOCK):
            left, right = slice(start, start + BLOCK), slice(other, other + BLOCK)
            products = coordinates[left] @ coordinates[right].T
            possible = products.mul_(-2).add_(squares[left, None]).add_(squares[right]) <= limit
            rows, columns = possible.any(1).nonzero()[:, 0] + start, possible.any(0).nonzero()[:, 0] + other
            found, partner = (vectors[rows] @ vectors[columns].T >= threshold).nonzero(as_tuple=True)
            yield rows[found].numpy(), columns[partner].numpy()


def _united(group: Rows, left: Rows, right: Rows) -> Rows:
    """Groups once these pairs are connected too; each carries the number of its first image."""
    size, ones = len(group), np.ones(len(group) + len(left), np.int8)
    ends = (np.append(np.arange(size), left), np.append(group, right))
    edges = coo_array((ones, ends), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component, return_index=True)
    return np.asarray(first[component], np.int64)
