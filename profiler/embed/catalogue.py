"""The models that ship inside the package; importable without JAX."""

from pathlib import Path

MODELS = {
    path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.safetensors"))
}
