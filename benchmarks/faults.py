"""What a fault costs: each is really caused, the run is started again, the tables are compared.

    python -m benchmarks.faults [--times 20] [--folder KEEP]

The plate is synthetic, 12 wells, and every run that meets a fault is a process of its own. A row
of any table of the run folder that an undisturbed run has and ours lacks is lost; one that ours
has and the other does not, or has more often, is doubled. Columns that hold seconds are left out.
The two faults of a cluster, a lost worker and a lost node, are tested in tests/execute.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl
from typer.testing import CliRunner

from plates.synthetic import Compound, Phenotype, PlateDesign, write_plate
from profiler import cli

RECIPE = Path(__file__).parents[1] / "tests" / "quick.toml"  # the demo's, with few features
PLATE = "mini"
LATE = ("B04", "C01", "C02", "C03", "C04")  # read when the run has begun
SECONDS = "Metadata_Seconds"
PATIENCE_S = 300
NOT_COMPARED = ("index.parquet", "incidents.parquet")  # when files were written, what befell
START = (
    "import sys; from benchmarks import faults; {prepare}; from profiler.cli import main; main()"
)
IN_A_SMALL_DISK = 'mount -t tmpfs -o size={size} tmpfs "{disk}" && {{ "$@"; code=$?; '
IN_A_SMALL_DISK += 'cp -a "{disk}/." "{keep}"; exit $code; }}'


class Said(NamedTuple):
    """How a command ended: its exit code, negative for a signal, and all it said."""

    code: int
    text: str


class Compared(NamedTuple):
    """Rows that the table of an undisturbed run has and ours lacks, and the reverse."""

    lost: int
    doubled: int


class Cost(NamedTuple):
    """What became of one fault, tried several times."""

    fault: str
    tried: int
    lost: int
    doubled: int
    told: str


@dataclass(frozen=True)
class Scene:
    """Where faults are caused.

    Attributes:
        plate: Images and `platemap.csv`.
        reference: Run folder of an undisturbed run.
        folder: For what a fault leaves.
        run: Starts `profiler` with some words, having called a function of this module.
    """

    plate: Path
    reference: Path
    folder: Path
    run: Callable[[Sequence[str], str], Said]


def make_plate(folder: Path) -> Path:
    """Draw the plate."""
    design = PlateDesign(
        plate=PLATE,
        plate_format=12,
        size=192,
        untreated=Phenotype(n_cells=25),
        compounds=(Compound("Mover", phenotype="translocation", ec50=0.3), Compound("Idle")),
        concentrations=(0.1, 1.0, 10.0),
    )
    write_plate(folder / PLATE, design)
    return folder / PLATE


def words(plate: Path | str, out: Path, *, layout: Path) -> list[str]:
    """The command line of a run."""
    return [
        "run", str(plate), "--out", str(out), "--recipe", str(RECIPE), "--layout", str(layout),
    ]  # fmt: skip


def command(prepare: str) -> list[str]:
    """A Python that calls a function of this module, and is `profiler` then."""
    return [sys.executable, "-c", START.format(prepare=prepare or "pass")]


def in_a_process(arguments: Sequence[str], prepare: str = "") -> Said:
    """Run `profiler` as a user would."""
    done = subprocess.run(
        [*command(prepare), *arguments], capture_output=True, text=True, timeout=PATIENCE_S
    )
    return Said(done.returncode, done.stdout + done.stderr)


def in_this_process(arguments: Sequence[str], prepare: str = "") -> Said:
    """Run `profiler` here, where everything is loaded and compiled already."""
    mend = eval(prepare, {"faults": sys.modules[__name__]}) if prepare else None
    try:
        done = CliRunner().invoke(cli.app, list(arguments))
    finally:
        if mend:
            mend()
    return Said(done.exit_code, f"{done.output}{done.exception or ''}")


def differences(ours: Path, theirs: Path) -> dict[str, Compared]:
    """Compare all tables of two run folders, row by row: the files that differ."""
    names = {path.relative_to(out) for out in (ours, theirs) for path in out.rglob("*.parquet")}
    found = {}
    for name in sorted(name for name in names if name.name not in NOT_COMPARED):
        mine, yours = _rows(ours / name), _rows(theirs / name)
        if mine != yours:
            found[str(name)] = Compared((yours - mine).total(), (mine - yours).total())
    return found


def _rows(path: Path) -> Counter[str]:
    if not path.is_file():
        return Counter()
    table = pl.read_parquet(path)
    return Counter(map(repr, table.select(pl.exclude(f"^{SECONDS}.*$")).iter_rows()))


def codes(out: Path) -> str:
    """The coded rows of a run, and how many of each."""
    if not (out / "fields.parquet").is_file():
        return ""
    status = pl.read_parquet(out / "fields.parquet")["Metadata_QC_Status"]
    found = status.filter(status != "ok").value_counts().sort("Metadata_QC_Status")
    return ", ".join(f"{n} {code}" for code, n in found.iter_rows())


def befell(out: Path) -> str:
    """The incidents of a run, by code, as its table keeps them."""
    found = ", ".join(pl.read_parquet(out / "incidents.parquet")["code"])
    return f"incident {found}" if found else ""


def killed(scene: Scene, out: Path, trial: int) -> str:
    """SIGKILL at a random moment between the first file and the last."""
    length = float((scene.folder / "seconds").read_text())
    chance = random.Random(trial)
    while True:
        code = _killed_after(chance.uniform(0.0, length), scene, out)
        if code == -signal.SIGKILL:
            done, wells = (
                len(list(run.glob("cells/*/*.parquet"))) for run in (out, scene.reference)
            )
            return f"{done} of {wells} wells done"
        assert code == 0, f"exit {code}"
        shutil.rmtree(out)  # it was faster this time, and had ended


def _killed_after(delay: float, scene: Scene, out: Path) -> int:
    process = subprocess.Popen(
        [*command(""), *words(scene.plate, out, layout=scene.plate / "platemap.csv")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not (out / "run.json").exists():
        time.sleep(0.002)
    with suppress(subprocess.TimeoutExpired):
        return process.wait(timeout=delay)
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def has_small_disks() -> bool:
    """Whether this user may mount a small file system."""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"],
        capture_output=True,
    )
    return done.returncode == 0


def full_disk(scene: Scene, out: Path, trial: int) -> str:
    """A file system that is smaller than the run; what was written is kept."""
    needed = sum(path.stat().st_size for path in scene.reference.rglob("*") if path.is_file())
    size = int(needed * (0.15, 0.35, 0.55, 0.75, 0.9)[trial % 5])
    out.mkdir()
    with tempfile.TemporaryDirectory(dir=scene.folder) as disk:
        script = IN_A_SMALL_DISK.format(size=size, disk=disk, keep=out)
        run = words(scene.plate, Path(disk), layout=scene.plate / "platemap.csv")
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, "sh", *command(""), *run],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 1, done.stderr
    assert "The disk is full" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return "error: The disk is full"


def vanished(scene: Scene, out: Path, trial: int) -> str:
    """An image that goes when the run has listed it."""
    image = _image(scene, trial)
    kept = image.read_bytes()
    with _when_begun(out, image.unlink):
        said = scene.run(words(scene.plate, out, layout=scene.plate / "platemap.csv"), "")
    image.write_bytes(kept)
    assert said.code == 0, said.text
    return codes(out)


def truncated(scene: Scene, out: Path, trial: int) -> str:
    """An image that is cut when the run has listed it."""
    image = _image(scene, trial)
    kept = image.read_bytes()
    part = kept[: len(kept) * (trial % 5) // 5]
    with _when_begun(out, lambda: image.write_bytes(part)):
        said = scene.run(words(scene.plate, out, layout=scene.plate / "platemap.csv"), "")
    image.write_bytes(kept)
    assert said.code == 0, said.text
    return codes(out)


def refused(scene: Scene, out: Path, trial: int) -> str:
    """A network store that fails one request in ten."""
    run = words(f"refusing://{scene.plate}", out, layout=scene.plate / "platemap.csv")
    said = scene.run(run, f"faults.refuse(seed={trial})")
    assert said.code == 0, said.text
    return codes(out)


def unreachable(scene: Scene, out: Path, trial: int) -> str:
    """A network store that does not give one image at all."""
    run = words(f"refusing://{scene.plate}", out, layout=scene.plate / "platemap.csv")
    said = scene.run(run, f"faults.refuse(seed={trial}, never={_image(scene, trial).name!r})")
    assert said.code == 0, said.text
    return codes(out)


def out_of_memory(scene: Scene, out: Path, trial: int) -> str:
    """A device whose memory is too small for a batch of 8; as XLA says it, since a CPU swaps."""
    run = words(scene.plate, out, layout=scene.plate / "platemap.csv")
    most = 1 + trial % 7
    said = scene.run([*run, "--batch", "8"], f"faults.exhaust(most={most})")
    assert said.code == 0, said.text
    (told,) = (line for line in said.text.splitlines() if "memory was too small" in line)
    return "note: " + told.split(": ", 1)[-1].split(". ")[0]


FAULTS = {
    "SIGKILL at a random moment": (killed, 20),
    "full disk": (full_disk, 5),
    "file vanishing": (vanished, 5),
    "truncated image": (truncated, 5),
    "store fails one request in ten": (refused, 5),
    "store never gives one image": (unreachable, 3),
    "out of memory on the device": (out_of_memory, 5),
}


def cost(fault: str, scene: Scene, *, times: int) -> Cost:
    """Cause a fault some times, and compare what is there after the rerun.

    Raises:
        AssertionError: The rerun failed, or the fault was not met as it should be.
    """
    cause, _ = FAULTS[fault]
    lost, doubled, told = 0, 0, Counter()
    for trial in range(times):
        out = scene.folder / f"{cause.__name__}{trial}"
        said = cause(scene, out, trial)
        again = in_this_process(words(scene.plate, out, layout=scene.plate / "platemap.csv"))
        assert again.code == 0, again.text
        for found in differences(out, scene.reference).values():
            lost, doubled = lost + found.lost, doubled + found.doubled
        told["; ".join(filter(None, (said, befell(out))))] += 1
        shutil.rmtree(out)
    listed = " / ".join(f"{what} ({n} x)" if times > 1 else what for what, n in told.items())
    return Cost(fault, times, lost, doubled, listed)


def refuse(*, seed: int, never: str = "") -> None:
    """Make the file system `refusing://`: this machine's, but one request in ten fails."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    chance, lock = random.Random(seed), threading.Lock()

    class Refusing(LocalFileSystem):
        """Files of this machine over a bad line."""

        protocol = "refusing"
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + str(path).removeprefix("refusing:").lstrip("/").rstrip("/")

        def cat_file(self, path, *args, **kwargs):
            """Read a file, or fail."""
            self._ask(path)
            return super().cat_file(path, *args, **kwargs)

        def find(self, path, *args, **kwargs):
            """List files, or fail."""
            self._ask(path)
            return super().find(path, *args, **kwargs)

        def _ask(self, path: str) -> None:
            with lock:
                is_refused = chance.random() < 0.1
            if is_refused or (never and path.endswith(never)):
                raise ConnectionResetError(f"503 Slow Down: {path}")

    fsspec.register_implementation("refusing", Refusing, clobber=True)


def exhaust(*, most: int) -> Callable[[], None]:
    """Make the device fail on batches larger than `most`; the returned function mends it."""
    import jax

    from profiler.compute import field

    real = field._to_unit

    def small(images):
        if len(images) > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return real(images)

    field._to_unit = small
    return lambda: setattr(field, "_to_unit", real)


def _image(scene: Scene, trial: int) -> Path:
    return next(scene.plate.glob(f"{PLATE}_{LATE[trial % len(LATE)]}_s1_GFP*"))


@contextmanager
def _when_begun(out: Path, act: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as a run has listed its files and claimed its folder."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not (out / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def main() -> None:
    """Print one row per fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, help="Times each fault is caused.")
    parser.add_argument("--folder", type=Path, help="Kept; by default one that is removed.")
    parser.add_argument("--only", help="Regular expression for faults' names.", default="")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scene = _scene(folder)
        print("| fault | times | rows lost | rows doubled | coded rows, or what was said |")
        print("|---|---|---|---|---|", flush=True)
        for fault, (_, times) in FAULTS.items():
            if re.search(asked.only, fault):
                print(_line(fault, scene, asked.times or times), flush=True)


def _scene(folder: Path) -> Scene:
    plate, reference = make_plate(folder), folder / "reference"
    run = words(plate, reference, layout=plate / "platemap.csv")
    for _ in range(2):  # the second time nothing is compiled: that is how long a run takes
        shutil.rmtree(reference, ignore_errors=True)
        said = in_a_process(run)
        assert said.code == 0, said.text
    began, ended = (reference / "layout.parquet", reference / "report.html")
    seconds = ended.stat().st_mtime - began.stat().st_mtime
    (folder / "seconds").write_text(str(seconds))
    rows = sum(pl.read_parquet(path).height for path in reference.rglob("*.parquet"))
    print(f"An undisturbed run: {rows:,} rows in {seconds:.1f} s from first file to last.\n")
    return Scene(plate, reference, folder, in_a_process)


def _line(fault: str, scene: Scene, times: int) -> str:
    if fault == "full disk" and not has_small_disks():
        return f"| {fault} | 0 | - | - | this user may not mount a small file system |"
    found = cost(fault, scene, times=times)
    return f"| {fault} | {found.tried} | {found.lost} | {found.doubled} | {found.told} |"


if __name__ == "__main__":
    main()
