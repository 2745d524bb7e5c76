"""Work that several feature families share, done once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any


@dataclass
class _Slot:
    lock: Lock = field(default_factory=Lock)
    made: tuple[Any, ...] = ()


@dataclass
class Memo:
    """Keeps what was made from one thing; threads that ask together wait for the first.

    Whatever is kept here lives as long as the field it was made from.
    """

    _slots: dict[Any, _Slot] = field(default_factory=dict)

    def get(self, make: Callable[..., Any], *given: Any, **options: Any) -> Any:
        """What `make(*given, **options)` returned the first time.

        Args:
            make: A function of a module: its identity and the options are the key.
            given: What it is made from, the same for this memo's whole life.
            options: Hashable.

        >>> memo = Memo()
        >>> made = [memo.get(list, "ab"), memo.get(list, "ab")]
        >>> made[0] is made[1]
        True
        """
        slot = self._slots.setdefault((make, *sorted(options.items())), _Slot())
        with slot.lock:
            if not slot.made:
                slot.made = (make(*given, **options),)
        return slot.made[0]
