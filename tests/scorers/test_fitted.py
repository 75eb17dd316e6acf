"""One-class scorers against independent answers: what they find, store and refuse."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf
from sklearn.ensemble import IsolationForest

from bagscan.core.errors import ConfigError
from bagscan.evaluation.metrics import auroc
from bagscan.registry import part
from bagscan.scorers.bigan import _describe_epoch
from bagscan.scorers.fitted import held_out, keep_phases

BIGAN = {
    "name": "bigan",
    "widths": (32, 16),
    "latent": 3,
    "matched": 16,
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "min_steps": 0,
}


def plane(n: int, seed: int, off: float = 0.0) -> torch.Tensor:
    """(n, 8) points on a curved two-dimensional sheet, or at distance ``off`` from it."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-2, 2, (2, n))
    points = np.stack([u, v, np.sin(u), np.cos(v), u * v / 2, u + v, u - v, np.sin(u + v)], 1)
    direction = rng.standard_normal((n, 8))
    return torch.tensor(
        points + off * direction / np.linalg.norm(direction, axis=1, keepdims=True),
        dtype=torch.float32,
    )


def built(name: str, **settings):
    torch.manual_seed(0)
    module = part("scorers", name)
    return module.build(module.Config(dim=8, **settings))


def scorers():
    yield built("gaussian")
    yield built("memory", cap_mb=0.02)
    yield built("isolation")
    yield built("bigan", **{k: v for k, v in BIGAN.items() if k != "name"})
    yield built("svm", errors=BIGAN)
    yield built(
        "fused", known={"name": "softmax", "hidden": 4}, unseen={"name": "memory", "cap_mb": 0.02}
    )


def marked(scorer):
    name = type(scorer).__name__
    return pytest.param(scorer, id=name, marks=pytest.mark.slow if name in ("BiGAN", "SVM") else ())


@pytest.mark.parametrize("scorer", [marked(scorer) for scorer in scorers()])
def test_what_lies_off_the_benign_sheet_is_found_and_everything_comes_back_from_disk(
    scorer, tmp_path
):
    scorer.fit(plane(1500, 0), plane(200, 1, off=2.5), 0)
    with torch.no_grad():
        benign, strange = scorer.score(plane(300, 2)), scorer.score(plane(300, 3, off=2.5))
    truth = np.repeat([0, 1], 300)
    least = 0.6 if type(scorer).__name__ in ("Isolation", "Fused") else 0.85
    assert auroc(truth, torch.cat([benign, strange]).numpy()) > least
    assert 0 <= float(benign.min()) <= float(strange.max()) <= 1
    save_file(
        {k: v.contiguous() for k, v in scorer.state_dict().items()}, tmp_path / "a.safetensors"
    )
    other = part("scorers", type(scorer).__module__.rpartition(".")[2]).build(scorer.config)
    other.load_state_dict(load_file(tmp_path / "a.safetensors"))
    with torch.no_grad():
        assert torch.allclose(other.eval().score(plane(50, 4)), scorer.eval().score(plane(50, 4)))


@pytest.mark.parametrize("name", ["gaussian", "memory", "isolation"])
def test_same_seed_same_fit_and_too_few_rows_are_refused(name):
    one, two = built(name), built(name)
    for scorer in (one, two):
        scorer.fit(plane(400, 0), plane(0, 1), 3)
    assert torch.equal(one.score(plane(20, 2)), two.score(plane(20, 2)))
    with pytest.raises(ValueError, match="too few"):
        one.fit(plane(5, 0), plane(0, 1), 0)


def test_gaussian_is_the_mahalanobis_distance_under_the_shrunk_covariance():
    scorer = built("gaussian")
    scorer.fit(plane(500, 0), plane(0, 1), 0)
    rows, _ = held_out(plane(500, 0), 0)
    covariance, _ = ledoit_wolf(rows.double().numpy())
    inverse = np.linalg.inv(covariance)
    points = plane(5, 7, off=1.0)
    expected = [
        mahalanobis(p, rows.double().mean(0).numpy(), inverse) for p in points.double().numpy()
    ]
    assert scorer.distance(points).numpy() == pytest.approx(np.array(expected), rel=1e-3)


def test_isolation_scores_are_those_of_scikit_learn():
    scorer = built("isolation", trees=20, rows_per_tree=64)
    scorer.fit(plane(500, 0), plane(0, 1), 5)
    rows, _ = held_out(plane(500, 0), 5)
    forest = IsolationForest(n_estimators=20, max_samples=64, random_state=5).fit(rows.numpy())
    points = plane(40, 7, off=1.0)
    assert scorer.distance(points).numpy() == pytest.approx(
        -forest.score_samples(points.numpy()), abs=1e-5
    )


def test_memory_tells_its_size_keeps_under_its_cap_and_measures_right(said):
    scorer = built("memory", cap_mb=0.004, neighbours=2)
    scorer.fit(plane(2000, 0), plane(0, 1), 0)
    assert "0.00 MB of at most 0.004 MB" in said[0]
    assert scorer.bank.numel() * 4 <= 4000
    points = plane(6, 1, off=1.0)
    scaled = (points - scorer.mean) / scorer.deviation
    every = (
        torch.linalg.vector_norm(scaled[:, None] - scorer.bank[None], dim=2)
        .sort(1)
        .values[:, :2]
        .mean(1)
    )
    assert torch.allclose(scorer.distance(points), every, atol=1e-4)
    with pytest.raises(ValueError, match="neighbours=3"):
        part("scorers", "memory").Config(dim=1000, cap_mb=0.001)


def test_a_coreset_covers_what_a_random_choice_of_its_size_does_not():
    """Nine in ten rows lie in one cluster: random sampling takes nearly all of its rows there."""
    heap, rest = (
        0.05 * torch.randn(1800, 8, generator=torch.Generator().manual_seed(0)),
        plane(200, 0),
    )
    scorer = built("memory", cap_mb=0.002, neighbours=1)  # 62 rows
    scorer.fit(torch.cat([heap, rest]), plane(0, 1), 0)
    in_heap = ((scorer.bank * scorer.deviation + scorer.mean).norm(dim=1) < 0.3).float().mean()
    assert in_heap < 0.3


@pytest.mark.parametrize("whole_up_to", [10_000, 10])
def test_svm_margins_are_those_of_scikit_learn_whole_and_on_centres(whole_up_to):
    scorer = built("svm", errors={"name": "gaussian"}, whole_up_to=whole_up_to, centres=30)
    kept = {}
    for method in ("_fit_exact", "_fit_approximate"):
        original = getattr(scorer, method)

        def keep(x, y, *rest, original=original):
            kept["machine"], kept["x"] = original(x, y, *rest), x
            return kept["machine"]

        setattr(scorer, method, keep)
    scorer.fit(plane(600, 0), plane(100, 1, off=2.0), 0)
    x = torch.tensor(kept["x"][:20], dtype=torch.float32)
    own = (
        torch.exp(-scorer.gamma * torch.cdist(x, scorer.centre).square()) @ scorer.weight
        + scorer.offset
    )
    assert own.numpy() == pytest.approx(kept["machine"].decision_function(kept["x"][:20]), abs=2e-3)


def test_svm_needs_anomalies_and_a_scorer_with_errors():
    with pytest.raises(ValueError, match="phase III"):
        built("svm", errors={"name": "gaussian"}).fit(plane(100, 0), plane(0, 1), 0)
    with pytest.raises(ConfigError, match=r"scorer\.errors"):
        built("svm", errors={"name": "softmax"})


def test_a_stop_after_phase_two_costs_no_second_phase_two(tmp_path, monkeypatch, said):
    """The SVM fails first; a resumed run reuses the stored BiGAN, unless the rows are others."""
    import bagscan.scorers.svm as module

    rows = plane(200, 0), plane(40, 1, off=3)
    whole = built("svm", errors=BIGAN | {"epochs": 2})
    whole.fit(*rows, 0)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    first = built("svm", errors=BIGAN | {"epochs": 2})
    keep_phases(first, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module.SVM, "_fit_exact", stopped)
        with pytest.raises(KeyboardInterrupt):
            first.fit(*rows, 0)
    (kept,) = tmp_path.glob("bigan_*.safetensors")
    before = kept.stat().st_mtime_ns
    said.clear()
    again = built("svm", errors=BIGAN | {"epochs": 2})
    keep_phases(again, tmp_path)
    again.fit(*rows, 0)
    assert kept.stat().st_mtime_ns == before
    assert any("bigan epoch 2/2" in text for text in said), "stored messages are repeated"
    assert torch.equal(again.score(plane(20, 5)), whole.score(plane(20, 5)))
    assert not any("too few" in text for text in said)
    again.fit(plane(40, 7), rows[1], 0)
    assert any("fitted to 20 rows, too few" in text for text in said)
    assert len(list(tmp_path.glob("bigan_*.safetensors"))) == 2


def test_bigan_tells_every_epoch_and_says_when_it_collapses(said):
    scorer = built("bigan", **{k: v for k, v in BIGAN.items() if k != "name"} | {"epochs": 4})
    scorer.fit(plane(600, 0), plane(0, 1), 0)
    assert len(said) == 4
    assert all(word in said[-1] for word in ("D ", "EG ", "R ", "FM ", "spread"))
    with torch.no_grad():
        for p in scorer.generator.parameters():
            p.zero_()
    assert scorer._spread(plane(100, 0), torch.Generator()) == 0
    losses = np.array([1.0, 1, 1, 1, 1.0])
    assert "COLLAPSED" in _describe_epoch(losses, 0.0, max_spread=0.8, epoch=3)
    assert "classifies all pairs correctly" in _describe_epoch(losses, 0.0, max_spread=0.8, epoch=3)
    young = _describe_epoch(losses, 0.1, max_spread=0.1, epoch=3)
    assert "NOT LEARNT YET" in young, "a constant output is not a collapse"
    assert "COLLAPSED" not in young


@pytest.mark.slow
def test_bigan_goes_over_few_rows_until_its_steps_are_made(said):
    built(
        "bigan",
        **{k: v for k, v in BIGAN.items() if k != "name"} | {"epochs": 3, "min_steps": 100},
    ).fit(plane(100, 0), plane(0, 1), 0)
    assert len(said) == 3
    assert int(said[-1].split("step ")[1].split()[0]) >= 100


def test_bigan_takes_its_sizes_from_what_it_describes():
    module = part("scorers", "bigan")
    assert module.Config(dim=1024).sizes() == ((512, 256), 64, 256), "methods page 3"
    assert module.Config(dim=192).sizes() == ((96, 48), 12, 48)
    assert module.Config(dim=192, widths=(7,), latent=3, matched=5).sizes() == ((7,), 3, 5)


def test_bigan_matching_and_reconstruction_move_encoder_and_generator_alone(monkeypatch):
    """Other weights on the two errors change E and G, but not D, which learns from its own loss."""
    import bagscan.scorers.bigan as module

    found = {}
    for weights in ((10.0, 1.0), (0.0, 50.0)):
        monkeypatch.setattr(module, "RECONSTRUCTION", weights[0])
        monkeypatch.setattr(module, "MATCHING", weights[1])
        scorer = built("bigan", **{k: v for k, v in BIGAN.items() if k != "name"})
        makers, critics = (
            [*scorer.encoder.parameters(), *scorer.generator.parameters()],
            [*scorer.features.parameters(), *scorer.verdict.parameters()],
        )
        optimisers = [torch.optim.SGD(p, 0.1) for p in (makers, critics)]
        scorer._step(plane(32, 0), optimisers, torch.Generator().manual_seed(0))
        found[weights] = (
            [p.detach().clone() for p in critics],
            [p.detach().clone() for p in makers],
        )
    (critics_a, makers_a), (critics_b, makers_b) = found.values()
    assert all(torch.equal(a, b) for a, b in zip(critics_a, critics_b, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(makers_a, makers_b, strict=True))


def test_bigan_losses_are_those_of_the_value_function():
    """A discriminator that returns 0: D loses 2 ln 2, E and G 2 ln 2 + 10 mean absolute errors."""
    scorer = built("bigan", **{k: v for k, v in BIGAN.items() if k != "name"})
    scorer.verdict = torch.nn.Linear(scorer.config.matched, 1)
    with torch.no_grad():
        for p in [*scorer.verdict.parameters(), *scorer.generator.parameters()]:
            p.zero_()
    x = plane(64, 0)
    optimisers = [torch.optim.SGD(m.parameters(), 0.0) for m in (scorer.generator, scorer.features)]
    loss_d, fooled, reconstruction, matching, _ = scorer._step(
        x, optimisers, torch.Generator().manual_seed(0)
    )
    assert loss_d == pytest.approx(2 * np.log(2), rel=1e-4)
    assert fooled == pytest.approx(2 * np.log(2), rel=1e-4)
    assert reconstruction == pytest.approx(float(x.abs().mean()), rel=1e-4)
    assert matching > 0


def test_a_fused_scorer_keeps_the_trained_one_and_needs_one_of_each():
    scorer = built("fused", known={"name": "softmax", "hidden": 4}, unseen={"name": "gaussian"})
    before = {k: v.clone() for k, v in scorer.known.state_dict().items()}
    scorer.fit(plane(300, 0), plane(0, 1), 0)
    assert all(torch.equal(before[k], v) for k, v in scorer.known.state_dict().items())
    for wrong in ({"known": {"name": "gaussian"}}, {"unseen": {"name": "softmax"}}):
        with pytest.raises(ConfigError, match=r"scorer\.known"):
            built("fused", **wrong)
    with pytest.raises(ValueError, match="rule must be"):
        part("scorers", "fused").Config(rule="mean")


@pytest.mark.parametrize(
    "unseen", [{"name": "svm", "errors": {"name": "gaussian"}}, {"name": "memory", "cap_mb": 0.02}]
)
def test_fused_scores_rank_as_the_sum_of_both_verdicts_however_far_out(unseen):
    """A 32-bit logistic would tie far outliers; an odds scale would drown the trained verdict."""
    scorer = built("fused", known={"name": "softmax", "hidden": 4}, unseen=unseen)
    scorer.fit(plane(1500, 0), plane(300, 1, off=3.0), 0)
    points = torch.cat([plane(300, 2), plane(300, 3, off=3.0)])
    with torch.no_grad():
        scores, both = scorer.score(points), scorer.both(points)
    assert len(torch.unique(scores)) > 0.95 * len(torch.unique(both.sum(1)))
    order = both.sum(1).argsort()
    assert (scores[order].diff() >= 0).all()
    assert float(scores.max()) < 1
    assert both.abs().median(0).values.max() < 30, "neither verdict drowns the other"


def test_gbad_modes():
    module = part("scorers", "gbad")
    found = {}
    for mode in ("product", "hard_gate", "cnn_alone", "gan_alone"):
        torch.manual_seed(0)
        scorer = module.build(
            module.Config(
                dim=8,
                classes=("Gun", "Knife"),
                gate={"name": "svm", "errors": {"name": "gaussian"}},
                mode=mode,
            )
        )
        scorer.fit(plane(300, 0), plane(60, 1, off=2.5), 0)
        with torch.no_grad():
            found[mode] = scorer.class_scores(plane(40, 2, off=1.2))
    gate = found["gan_alone"][:, :1]
    assert torch.allclose(found["product"], found["cnn_alone"] * gate)
    assert torch.equal(
        found["hard_gate"], torch.where(gate >= 0.5, found["cnn_alone"], torch.zeros(()))
    )
    assert (gate < 0.5).any()
    assert (gate >= 0.5).any()


def bars(n: int, seed: int, strange: bool = False) -> torch.Tensor:
    """(n, 256) squares of 16 px: a bright bar on one axis; strange ones also have a dark block."""
    rng = np.random.default_rng(seed)
    images = np.full((n, 1, 16, 16), -0.8, np.float32)
    for image in images:
        k = int(rng.integers(2, 11))
        image[0, k : k + 4] = 0.8
        if strange:
            y, x = rng.integers(0, 9, 2)
            image[0, y : y + 7, x : x + 7] = rng.choice([-0.1, 0.1])
    return torch.from_numpy(
        (images + rng.normal(0, 0.03, images.shape)).clip(-1, 1).astype(np.float32)
    ).flatten(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ganomaly", "skip_ganomaly", "anogan"])
def test_models_of_pixels_find_what_they_were_never_shown(name, said):
    torch.manual_seed(0)
    module = part("scorers", name)
    scorer = module.build(
        module.Config(
            dim=256, channels=1, latent=8, width=8, epochs=25, batch_size=32, learning_rate=1e-3
        )
    )
    scorer.fit(bars(500, 0), bars(0, 1), 0)
    assert len(said) == 25
    assert "spread" in said[-1]
    with torch.no_grad():
        scores = scorer.score(torch.cat([bars(150, 2), bars(150, 3, strange=True)]))
        back = scorer.reconstruct(scorer.images(bars(20, 4)))
    assert auroc(np.repeat([0, 1], 150), scores.numpy()) > 0.75
    assert back.abs().max() <= 1
    with pytest.raises(ValueError, match="tanh"):
        scorer.fit(2 * bars(50, 0), bars(0, 1), 0)
    with pytest.raises(ValueError, match="power of two"):
        module.Config(dim=300, channels=1)
