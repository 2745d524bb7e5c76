"""HDF5 files, read so that one from outside cannot reach any file but itself.

A link or a dataset of an HDF5 file may lead to any other file of the machine; those are left out
when groups are listed, and refused when a dataset is opened.
"""

from collections.abc import Iterator
from typing import Any

from plates.errors import BadPlate


def groups(group: Any) -> Iterator[tuple[str, Any]]:
    """Name and object of each member of an open group that lies in the same file."""
    import h5py

    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield name, group[name]


def dataset(store: Any, name: str) -> Any:
    """A dataset by its name.

    Args:
        store: An open h5py.File.
        name: Absolute, as in "/B03/1/images".

    Raises:
        KeyError: There is none, or it is a group.
        BadPlate: Its pixels lie in another file.
    """
    import h5py

    found: Any = store
    for part in name.strip("/").split("/"):
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise KeyError(f"{name} is not in the file itself")
        found = found[part]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is no dataset")
    if found.external or found.is_virtual:
        raise BadPlate(
            f"{store.filename}: the pixels of {name} lie in another file, which was not opened. "
            "Copy them into one file (h5repack does)."
        )
    return found
