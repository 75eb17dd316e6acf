"""Free space in and around a device, in voxels, where an anomaly can be placed."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bagscan.simulate.assembly import OUTSIDE, Assembly
from bagscan.simulate.occupancy import BoxFinder, Grid, Occupancy, free_voxels, occupy

LAYER_MM = (0.7, 5.0)  # thickness of a gap between layers, from and to


@dataclass(frozen=True)
class Search:
    """Free voxels to place a box in.

    Attributes:
        occupancy: the device, painted into voxels.
        finder: finds boxes of free voxels.
        starts: (n, 3) int, voxels that a box can grow from.
    """

    occupancy: Occupancy
    finder: BoxFinder
    starts: np.ndarray


class FreeSpaces:
    """Free space of a device, by way of concealment. Every search is computed once.

    Attributes:
        device: in its own frame.
        hollow: returns the :class:`Search` of the lowest voxels of a cavity, by solid.
        bay: removes a component, by index. Returns the device without it, the :class:`Search` near
            the centre of its place, and the (3,) size of the place in mm.
    """

    def __init__(self, device: Assembly) -> None:
        self.device = device
        self.hollow = functools.cache(self._search_hollow)
        self.bay = functools.cache(self._search_bay)

    @functools.cached_property
    def inside(self) -> Search:
        """All air inside the device."""
        pitch = _grid_pitch(self.device)
        occupancy = occupy(self.device, Grid.around(*self.device.bounds, pitch))
        free = free_voxels(occupancy, self.device)
        return Search(occupancy, BoxFinder(free), np.argwhere(free))

    @functools.cached_property
    def layers(self) -> Search:
        """Thin gaps along z, for example under a lid, over a board or behind a screen."""
        pitch = _grid_pitch(self.device)
        pitch[2] = np.clip(pitch[2], 0.25, 0.5)
        occupancy = occupy(self.device, Grid.around(*self.device.bounds, pitch))
        free = free_voxels(occupancy, self.device)
        gap_mm = _free_run_along_z(free) * pitch[2]
        thin = gap_mm <= LAYER_MM[1]
        starts = np.argwhere((gap_mm >= LAYER_MM[0]) & thin)
        return Search(occupancy, BoxFinder(free & thin), starts)

    @functools.cached_property
    def outside(self) -> Search:
        """Space around the device; boxes start at its surface."""
        low, high = self.device.bounds
        pitch = np.clip((high - low) / 110, 0.8, 3.0)
        occupancy = occupy(self.device, Grid.around(low, high, pitch, 24.0))
        free = occupancy.owner == OUTSIDE
        at_surface = free & ndimage.binary_dilation(~free)
        return Search(occupancy, BoxFinder(free), np.argwhere(at_surface))

    def _search_hollow(self, cavity: int) -> Search:
        low, high = self.device.solid_bounds()[cavity]
        pitch = np.clip((high - low) / 110, 0.4, 2.0)
        occupancy = occupy(self.device, Grid.around(low, high, pitch))
        free = occupancy.owner == cavity
        at_floor = free & (np.cumsum(free, axis=2) <= 2)
        return Search(occupancy, BoxFinder(free), np.argwhere(at_floor))

    def _search_bay(self, component: int) -> tuple[Assembly, Search, np.ndarray]:
        left = self.device.without(component)
        bounds = self.device.solid_bounds()[self.device.component == component]
        low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
        occupancy = occupy(left, Grid.around(low, high, np.clip((high - low) / 40, 0.25, 2.0)))
        free = free_voxels(occupancy, left)
        starts = np.argwhere(free)
        middle = (np.array(free.shape) - 1) / 2
        distance = np.square((starts - middle) / np.maximum(middle, 1)).sum(1)
        central = starts[np.argsort(distance)[:40]]
        return left, Search(occupancy, BoxFinder(free), central), high - low


def _grid_pitch(device: Assembly) -> np.ndarray:
    extent = np.ptp(np.array(device.bounds), axis=0)
    return np.asarray(np.clip(extent / 150, 0.5, 2.0))


def _free_run_along_z(free: np.ndarray) -> np.ndarray:
    """Return, for each free voxel, the length in voxels of its run of free voxels along z.

    Returns:
        (X, Y, Z) int, 0 where a voxel is not free.
    """
    n = free.shape[2]
    index = np.arange(n)
    before = np.maximum.accumulate(np.where(free, -1, index), axis=2)
    after = np.minimum.accumulate(np.where(free, n, index)[..., ::-1], axis=2)[..., ::-1]
    return np.where(free, after - before - 1, 0)
