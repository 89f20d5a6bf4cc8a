"""A folder of static files in which a browser runs a bundle's portable graph: pose with no server and no install.

    python tools/browser_page.py bundle -o page
    python -m http.server --bind 127.0.0.1 --directory page 8000

npm brings onnxruntime-web (ONNX Runtime compiled to WebAssembly); `--package` takes a copy that is there. The page
first runs the bundle's golden clips and says how many outputs differ, then the camera. Any static server does; browsers
give pages the camera on `localhost` and over https only.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from svf_edge.data.skeleton import SKELETON
from svf_edge.errors import SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.files import write_text

VERSION = "1.30.0"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = ("index.html", "pose.js")
PORTABLE = "portable.onnx"


def describe(bundle: Bundle) -> dict[str, Any]:
    """What the page has to know of the model. Raises `UnsupportedInput` for one that finds no pose in clips."""
    manifest = bundle.manifest
    head = manifest.model.get("model", {}).get("head", {})
    if head.get("kind") != "pose" or manifest.form != "clip":
        raise UnsupportedInput(f"{bundle.folder}: the page runs a pose model on clips; export one with --form clip")
    return {
        "input": manifest.frames.name,
        "shape": manifest.frames.shape,
        "output": manifest.outputs[0].name,
        "exponent": manifest.outputs[0].exponent,
        "joints": head["joints"],
        "bins": head["bins"],
        "limbs": SKELETON,
        "golden": [{"frames": f"{index}.frames", "output": f"{index}.output"} for index in range(len(manifest.golden))],
    }


def write_page(bundle: Bundle, folder: Path, package: Path) -> None:
    """Write the page for `bundle` with the `onnxruntime-web` in `package` into the new folder `folder`.

    Raises `SvfError` when the folder exists or the package is not one.
    """
    if folder.exists():
        raise SvfError(f"{folder}: exists; give another folder or remove it")
    model = describe(bundle)
    missing = [name for name in RUNTIME if not (package / "dist" / name).is_file()]
    if missing:
        raise SvfError(f"{package}: has no dist/{missing[0]}; give the folder of onnxruntime-web {VERSION}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        draft = Path(scratch) / "page"
        draft.mkdir()
        for name in RUNTIME:
            shutil.copyfile(package / "dist" / name, draft / name)
        for name in PAGE:
            shutil.copyfile(Path(__file__).with_name("browser") / name, draft / name)
        shutil.copyfile(bundle.path(bundle.artefact("onnxruntime", "portable").path), draft / PORTABLE)
        for entry, golden in zip(bundle.manifest.golden, model["golden"], strict=True):
            frames, outputs = bundle.golden(entry.name)
            (draft / golden["frames"]).write_bytes(frames.tobytes())
            (draft / golden["output"]).write_bytes(outputs[model["output"]].astype("<i4").tobytes())
        write_text(draft / "model.json", json.dumps(model))
        draft.rename(folder)


def fetch_package(folder: Path) -> Path:
    """`onnxruntime-web`, installed by npm into `folder`. Raises `SvfError` without npm or if it fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise SvfError("npm is not installed, which brings onnxruntime-web; install it, or give --package")
    words = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    done = subprocess.run([*words, f"onnxruntime-web@{VERSION}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SvfError(f"npm could not install onnxruntime-web {VERSION} ({done.stderr.strip().splitlines()[-1]})")
    return folder / "node_modules" / "onnxruntime-web"


def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle of a pose model, with golden clips.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the page.")] = Path("page"),
    package: Annotated[Path | None, typer.Option(help="Folder of onnxruntime-web; without it npm fetches it.")] = None,
) -> None:
    """Write the page. Example: python tools/browser_page.py bundle -o page"""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            write_page(Bundle.open(bundle), output, package or fetch_package(Path(scratch)))
    except SvfError as error:
        raise SystemExit(str(error)) from error
    print(f"{output}: serve it with `python -m http.server --bind 127.0.0.1 --directory {output} 8000`")


if __name__ == "__main__":
    typer.run(main)
