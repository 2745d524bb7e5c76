"""What the rest of a task will take, in time and memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from plates.loader import PixelFormat
from profiler.compute.devices import available_cores, device_name, field_bytes
from profiler.events import Event, FieldsDone, Forecast
from profiler.throughput.forecast import Pace, memory_bytes, peak_bytes, recall, remember


@dataclass
class Prospect:
    """Foresees a task from what such fields cost before, then from its own first fields.

    Attributes:
        computed_by: Hash of all that the cells depend on.
        pixel_format: What the plate's images are like.
        channels: Of a field.
        size: Fields in a batch.
        fields: Fields to compute.
    """

    computed_by: str
    pixel_format: PixelFormat
    channels: int
    size: int
    fields: int
    _pace: Pace = field(default_factory=Pace)
    _done: int = 0

    def before(self) -> Forecast:
        """What is known before any field is computed."""
        return self._forecast(recall(self._key), is_measured=False)

    def after(self, events: Iterable[Event], *, at: float) -> Iterator[Forecast]:
        """Take note of a batch; yields once, when enough were computed to tell."""
        for event in events:
            if not isinstance(event, FieldsDone):
                continue
            self._done += event.fields
            computed = event.fields - event.failed
            if not computed:  # nothing waited for the compiler, and a failure costs next to nothing
                continue
            self._pace.add(at=at, fields=computed)
            if self._pace.is_enough and self._done < self.fields:
                yield self._forecast(self._pace.seconds_per_field, is_measured=True)

    def keep(self) -> None:
        """Remember for the next run what a field cost in this one."""
        if (seconds := self._pace.seconds_per_field) is not None:
            remember(self._key, seconds)

    @property
    def _key(self) -> str:
        height, width, dtype = self.pixel_format
        machine = f"{device_name()}, {available_cores()} cores"
        return f"{self.computed_by} {height}x{width}x{self.channels} {dtype} {machine}"

    def _forecast(self, seconds: float | None, *, is_measured: bool) -> Forecast:
        height, width, dtype = self.pixel_format
        pixels = height * width
        raw = pixels * self.channels * dtype.itemsize
        is_cpu = device_name().startswith("cpu")
        memory = memory_bytes(field_bytes=raw, pixels=pixels, size=self.size, is_cpu=is_cpu)
        on_device = self.size * field_bytes(pixels=pixels, channels=self.channels)
        return Forecast(
            fields=self.fields - self._done,
            seconds_per_field=seconds,
            is_measured=is_measured,
            memory_bytes=peak_bytes() if is_measured else memory,
            device_bytes=0 if is_cpu else on_device,
            pixel_bytes=(self.fields - self._done) * raw,
        )
