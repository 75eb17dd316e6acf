"""Draw the figures of docs/simulator.md.

Usage: ``python -m experiments.simulator_figures``.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from bagscan.imaging.channels import Calibration, Imaged, image
from bagscan.imaging.scanner import load_profile
from bagscan.physics.materials import elements, material
from bagscan.physics.transmission import exact
from bagscan.simulate.devices import NAMES, Family, build_device, device_module
from bagscan.simulate.gallery import crop_to_ink, draw_views, lay_alone
from bagscan.simulate.prohibited import NAMES as PROHIBITED
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import RenderedView, render
from bagscan.simulate.scene import build_scene, plan

OUT = Path(__file__).parents[1] / "docs" / "figures"
PROFILE = load_profile("g640")


def spectra() -> None:
    """Draw the tube spectrum, detector weights, attenuation, and R over thickness."""
    energy, response = elements().energy_kev, PROFILE.response
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6))
    fluence = PROFILE.tube.fluence()
    axes[0].fill_between(
        energy, fluence / fluence.max(), color="#bbbbbb", label="tube, 160 kV, 3 mm Al"
    )
    for name, weight, colour in (
        ("low", response.low, "#d2691e"),
        ("high", response.high, "#1f5fa8"),
    ):
        axes[0].plot(
            energy,
            weight / max(response.low.max(), response.high.max()),
            color=colour,
            label=f"{name} signal, mean {weight @ energy:.0f} keV",
        )
    axes[0].set(xlabel="energy (keV)", ylabel="relative", xlim=(10, 165))
    for name in ("polyethylene", "water", "aluminium", "iron", "copper", "lead"):
        axes[1].plot(energy, material(name).attenuation_per_mm, label=name)
    axes[1].set(
        yscale="log",
        xlim=(15, 160),
        ylim=(1e-3, 100),
        xlabel="energy (keV)",
        ylabel="attenuation (1/mm)",
    )
    spectral = exact(response)
    for name in (
        "polyethylene",
        "pmma",
        "water",
        "ptfe",
        "aluminium",
        "titanium",
        "iron",
        "copper",
    ):
        log = -np.log(
            spectral.transmission(np.geomspace(0.01, 300, 200)[:, None], [material(name)])
        )
        keep = log[:, 1] < 6
        axes[2].plot(
            log[keep, 1],
            log[keep, 0] / log[keep, 1],
            label=f"{name}, Z {material(name).effective_z:.1f}",
        )
    axes[2].set(xlabel="log attenuation, high", ylabel="R = low / high", xlim=(0, 6))
    for axis in axes:
        axis.legend(fontsize=7, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(OUT / "spectra.png", dpi=90)
    plt.close(figure)


def _image(view: RenderedView, calibration: Calibration) -> Imaged:
    low, high = (view.counts / PROFILE.air_counts).astype(np.float32)
    return image(low, high, calibration)


def chain() -> None:
    """Draw a bag from raw counts to pseudo-colour, and its benign twin."""
    recipe = Recipe(
        devices=("laptop",),
        seed=12,
        items=(5, 9),
        ways=("cavity_insert", "taped_outside"),
        kinds=("organic_block", "wires_and_battery"),
        more_devices=0.0,
    )
    both: dict[str, list[RenderedView]] = {}
    for index in range(40):  # the first anomaly that is neither lost in noise nor obvious
        scene = build_scene(recipe, plan(recipe, index), PROFILE.tunnel_mm)
        both = render(scene, PROFILE, 4, both=True)
        detectability = both.get("anomalous", both["benign"])[0].detectability
        if detectability and 150 < detectability.area_cnr < 600:
            break
    calibration = Calibration.of_profile(PROFILE)
    views = [both["benign"][0], both["anomalous"][0], both["anomalous"][1]]
    images = [_image(view, calibration) for view in views]
    seen = views[1].detectability
    assert seen
    panels = [
        (views[1].counts[0], "raw low, 16 bits", "gray"),
        (views[1].counts[1], "raw high", "gray"),
        (np.where(images[1].zeff_counts > 0, images[1].z.z, np.nan), "effective Z", "turbo"),
        (images[1].colour.transpose(1, 2, 0), "pseudo-colour, with an anomaly", None),
        (images[0].colour.transpose(1, 2, 0), "the same scene and noise without it", None),
        (
            np.minimum(seen.cnr, 10),
            f"contrast to noise of the difference; area CNR {seen.area_cnr:.0f}",
            "magma",
        ),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.4))
    for axis, (pixels, title, colours) in zip(axes.ravel(), panels, strict=True):
        axis.imshow(pixels, cmap=colours)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(OUT / "chain.png", dpi=80)
    plt.close(figure)


def devices() -> None:
    """Draw a device of every class, without a bag."""
    figure, axes = plt.subplots(2, 8, figsize=(15, 4.6))
    for axis, name in zip(axes.ravel(), NAMES, strict=True):
        axis.imshow(_draw_alone(Family(name, device_module(name).LAYOUTS[0], 3)))
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(OUT / "devices.png", dpi=75)
    plt.close(figure)


def prohibited_items() -> None:
    """Draw a family of every form of every class of prohibited items, without a bag."""
    families = [
        Family(name, layout, number)
        for name in PROHIBITED
        for number, layout in enumerate(device_module(name).LAYOUTS)
    ]
    figure, axes = plt.subplots(-(-len(families) // 10), 10, figsize=(15, 9))
    for axis in axes.ravel():
        axis.axis("off")
    for axis, family in zip(axes.ravel(), families, strict=False):
        axis.imshow(_draw_alone(family))
        axis.set_title(f"{family.device}\n{family.layout}".replace("_", " "), fontsize=7)
    figure.tight_layout()
    figure.savefig(OUT / "prohibited.png", dpi=75)
    plt.close(figure)


def _draw_alone(family: Family) -> np.ndarray:
    """Return the (H, W, 3) pseudo-colour of a device that lies alone on the belt."""
    device, _ = build_device(family, np.random.default_rng(1))
    return crop_to_ink(draw_views(lay_alone(device, PROFILE), PROFILE, 1)[0])


def bags() -> None:
    """Draw eight bags from below."""
    calibration = Calibration.of_profile(PROFILE)
    recipe = Recipe(devices=NAMES, seed=21)
    figure, axes = plt.subplots(2, 4, figsize=(13, 6))
    for k, axis in enumerate(axes.ravel()):
        scene = build_scene(recipe, plan(recipe, 3 * k), PROFILE.tunnel_mm)
        view = render(scene, PROFILE, k)["benign"][0]
        axis.imshow(_image(view, calibration).colour.transpose(1, 2, 0))
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(OUT / "bags.png", dpi=75)
    plt.close(figure)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for draw in (spectra, chain, devices, prohibited_items, bags):
        draw()
        print(draw.__name__)
