"""The store of images, with a record that cannot be read: a power cut may leave one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box.config import ImageConfig
from ocipy.box.images.store import Store
from ocipy.box.places import Places


@pytest.fixture
def store(tmp_path: Path) -> Store:
    places = Places(tmp_path / "data", tmp_path / "run")
    for path in (places.data, places.images):
        path.mkdir()
    return Store(places)


def add(store: Store, name: str) -> None:
    with store.locked():
        store.add(name, f"sha256-{name}", f"sha256:{name}", lambda _: ImageConfig(), ("base",))


def test_an_image_with_a_damaged_record_stops_no_other_and_can_be_removed(store: Store) -> None:
    add(store, "1234abcd")
    (store.directory / "sha256-1234abcd/image.json").write_text("")
    add(store, "5678abcd")
    with pytest.raises(Error, match="cannot be read"):
        store.find("1234abcd")
    assert store.remove("1234abcd", lambda _: [], nullcontext()) == ["untagged: 1234abcd", "deleted: sha256-1234abcd"]
    assert store.remove("5678abcd", lambda _: [], nullcontext()) == ["untagged: 5678abcd", "deleted: sha256:5678abcd"]
    assert [path.name for path in store.directory.iterdir() if path.is_dir()] == []


def test_the_other_images_are_listed_and_the_damaged_one_is_named(store: Store) -> None:
    add(store, "1234abcd")
    add(store, "5678abcd")
    (store.directory / "sha256-1234abcd/image.json").write_text("{}")
    assert [image.name for image in store.all()] == ["5678abcd"]
    assert [error.what for error in store.listed()[1]] == ["the record of image 1234abcd cannot be read"]


def test_no_box_is_made_while_an_image_is_removed(store: Store) -> None:
    """The lock is held while the store checks whether a box needs the image, and until the image is gone."""
    add(store, "1234abcd")
    events: list[str] = []

    @contextmanager
    def lock() -> Iterator[None]:
        events.append("locked")
        yield
        events.append(f"unlocked, {'there' if store.has('sha256-1234abcd') else 'gone'}")

    def used(_key: str) -> list[str]:
        events.append("asked")
        return []

    store.remove("1234abcd", used, lock())
    assert events == ["locked", "asked", "unlocked, gone"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}'])
def test_images_are_listed_without_names_that_cannot_be_read(store: Store, text: str) -> None:
    add(store, "1234abcd")
    (store.directory / "names.json").write_text(text)
    assert [image.digest for image in store.all()] == ["sha256:1234abcd"]
    (problem,) = store.listed()[1]
    assert problem.what.startswith("cannot read the names of images: ") and "names.json" in problem.pointer
