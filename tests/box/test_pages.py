"""The pages of a plan and a trace in a real browser: the drawing, a step unfolded by a click, dark and light."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.box.conftest import Box
from tests.conftest import runtime_path
from tests.harness.host import scaled

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
# Added to the page for the test, without its CSP: it clicks, and reports the result.
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const step = [...document.querySelectorAll("details")].find((one) => one.dataset.pointer === "/hostname");
  step.querySelector("summary").click();
  setTimeout(() => { document.title = JSON.stringify({
    steps: document.querySelectorAll("details").length, arrows: document.querySelectorAll("path.arrow").length,
    open: step.open, chosen: document.querySelector("#config .chosen").textContent.trim(),
    paper: getComputedStyle(document.body).backgroundColor, wide: document.documentElement.scrollWidth > innerWidth,
    columns: getComputedStyle(document.querySelector("main")).gridTemplateColumns.split(" ").length }); }, 200);
}, 200));</script>"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    (path / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", path / "rootfs/bin/busybox")
    subprocess.run([runtime_path(), "spec", "--bundle", path], check=True)
    config = json.loads((path / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/busybox", "true"]
    (path / "config.json").write_text(json.dumps(config))
    return path


def browse(page: Path, tmp_path: Path, size: str, *flags: str) -> dict[str, object]:
    """The probe's report on a page in a window of this size."""
    text = page.read_text()
    probed = tmp_path / "probed.html"
    start = text.index("<meta http-equiv")
    probed.write_text(text[:start] + text[text.index(">", start) + 1 :].replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        ["chromium", *FLAGS, *flags, f"--window-size={size}", f"--user-data-dir={tmp_path}/profile{size}{len(flags)}",
         "--virtual-time-budget=5000", "--dump-dom", probed.as_uri()],
        check=True, capture_output=True, text=True, timeout=scaled(120),
    )  # fmt: skip
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    answer: dict[str, object] = json.loads(title)
    return answer


@pytest.mark.parametrize("kind", ["plan", "trace"])
def test_a_page_in_a_browser(bundle: Path, tmp_path: Path, kind: str) -> None:
    page = tmp_path / "page.html"
    if kind == "plan":
        page.write_bytes(
            subprocess.run([runtime_path(), "plan", "--html", bundle], check=True, capture_output=True).stdout
        )
    else:
        root = tmp_path / "state"
        words = [runtime_path(), "--root", str(root), "--trace", str(page), "run", "--bundle", str(bundle), "traced"]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        assert " ms" in page.read_text()
    light = browse(page, tmp_path, "1400,1000")
    assert light["open"] is True and light["chosen"] == '"hostname": "ocipy",'
    assert int(str(light["steps"])) > 50 and int(str(light["arrows"])) >= 3
    assert light["columns"] == 2 and light["wide"] is False
    dark = browse(page, tmp_path, "1400,1000", "--blink-settings=preferredColorScheme=0")
    assert dark["paper"] != light["paper"]
    phone = browse(page, tmp_path, "500,900")
    assert phone["columns"] == 1 and phone["wide"] is False


def test_a_boxs_plan(box: Box) -> None:
    shown = box("run", "--dry-run", "--network", "none", "--memory", "50M", "busybox").stdout
    assert '"limit": 52428800' in shown
    assert "memory.limit_in_bytes" in shown or "memory.max" in shown
    assert box("ps", "-aq").stdout == ""


def test_what_isolates_a_box(box: Box) -> None:
    box("run", "-d", "--name", "one", "--network", "none", "--memory", "50M", "busybox", "sleep", "1000")
    told = box("explain", "one").stdout
    for word in (
        "pid: its processes see no others",
        "/linux/resources/memory/limit",
        " is hidden",
        "CapBnd",
        "52428800",
    ):
        assert word in told
