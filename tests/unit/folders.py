"""The folders and single modules in ocipy/, of this checkout or another one: sizes, imports between them, circles.

python -m tests.unit.folders [TREE]          as text
python -m tests.unit.folders --svg [TREE]    as a picture: each stands above those that it imports
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.unit.layering import TOP, circles, graph, modules

# Of the picture, in pixels.
WIDTH, HEIGHT, BOX, SHIFT = 1400, 110, 128, 80
IN_A_ROW = 6


class Folders:
    """sizes: the lines of each folder or single module. counts: its modules. arrows: the number of imports from one to
    another, without modules that are only named in a string. circles, circles_of_modules: the groups that import one
    another."""

    def __init__(self, top: Path) -> None:
        known = modules(top)
        edges = graph(known, by_name=False)
        self.counts, self.sizes = Counter[str](), Counter[str]()
        self.arrows = Counter[tuple[str, str]]()
        folder: dict[str, str] = {}
        for name, path in known.items():
            folder[name] = path.relative_to(top / "ocipy").parts[0]
            self.counts[folder[name]] += 1
            self.sizes[folder[name]] += len(path.read_text().splitlines())
        for name, others in edges.items():
            self.arrows.update((folder[name], folder[other]) for other in others if folder[other] != folder[name])
        self.uses = {name: {to for start, to in self.arrows if start == name} for name in self.sizes}
        self.circles, self.circles_of_modules = circles(self.uses), circles(edges)

    def floors(self) -> list[list[str]]:
        """The highest floor first. A folder is above all that it imports; those of a circle are on one floor."""
        group = {name: next((tuple(each) for each in self.circles if name in each), (name,)) for name in self.sizes}
        number: dict[tuple[str, ...], int] = {}

        def visit(own: tuple[str, ...]) -> int:
            if own not in number:
                below = {group[to] for name in own for to in self.uses[name]} - {own}
                number[own] = 1 + max(map(visit, below), default=-1)
            return number[own]

        highest = max(map(visit, group.values()))
        return [sorted(name for name in self.sizes if number[group[name]] == at) for at in range(highest, -1, -1)]

    def is_in_circle(self, start: str, to: str) -> bool:
        """Whether this import is part of a circle."""
        return any(start in each and to in each for each in self.circles)

    def text(self) -> Iterator[str]:
        """A line for the whole, then each folder with what it imports."""
        single = [name for name in self.sizes if name.endswith(".py")]
        yield (
            f"{len(self.sizes) - len(single)} folders, {len(single)} single modules; {sum(self.counts.values())} "
            f"modules, {sum(self.sizes.values())} lines; {sum(self.arrows.values())} imports, on {len(self.arrows)} "
            f"arrows; circles of folders: {len(self.circles)}, of modules: {len(self.circles_of_modules)}"
        )
        yield from (f"circle of folders: {' '.join(each)}" for each in self.circles)
        yield from (f"circle of modules: {' '.join(each)}" for each in self.circles_of_modules)
        for name in (each for floor in self.floors() for each in floor):
            taken = ", ".join(f"{to} {self.arrows[name, to]}" for to in sorted(self.uses[name]))
            yield f"{name:12}{self.counts[name]:4} modules{self.sizes[name]:6} lines  -> {taken}"

    def svg(self) -> Iterator[str]:
        """Arrows are as wide as they have imports; those of a circle are red."""
        rows = [floor[at : at + IN_A_ROW] for floor in self.floors() for at in range(0, len(floor), IN_A_ROW)]
        place = {
            # Neighbouring rows are moved to different sides, so that an arrow rarely runs through a third box.
            name: (int(WIDTH * (i + 1) / (len(row) + 1)) + (number % 3 - 1) * SHIFT, HEIGHT * number + HEIGHT // 2)
            for number, row in enumerate(rows)
            for i, name in enumerate(row)
        }
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(rows)}" '
            'font-family="sans-serif" font-size="13" text-anchor="middle">'
            '<rect width="100%" height="100%" fill="white"/>'
        )
        for (start, to), number in sorted(self.arrows.items()):
            (x, y), (x2, y2) = place[start], place[to]
            color = "#c00" if self.is_in_circle(start, to) else "#357"
            bend = HEIGHT // 2 if y == y2 else 0
            yield (
                f'<path d="M{x} {y} Q{(x + x2) // 2} {(y + y2) // 2 + bend} {x2} {y2}" fill="none" stroke="{color}" '
                f'stroke-opacity="0.45" stroke-width="{1 + number**0.5 / 2:.1f}">'
                f"<title>{start} imports {to}: {number}</title></path>"
            )
        for name, (x, y) in place.items():
            height = 34 + self.sizes[name] // 150
            yield (
                f'<rect x="{x - BOX // 2}" y="{y - height // 2}" width="{BOX}" height="{height}" rx="6" fill="#eef" '
                f'stroke="#357"/><text x="{x}" y="{y}">{name}</text>'
                f'<text x="{x}" y="{y + 14}" font-size="10">{self.counts[name]} modules, '
                f"{self.sizes[name]} lines</text>"
            )
        yield "</svg>"


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--svg"]
    folders = Folders(Path(words[0]).resolve() if words else TOP)
    print("\n".join(folders.svg() if "--svg" in sys.argv else folders.text()))
