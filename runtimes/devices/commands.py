"""`svf-edge devices`, and what `svf-edge parity` and `svf-edge bench` do with `--device`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from svf_edge.errors import SvfError, UnsupportedInput

if TYPE_CHECKING:
    from svf_edge.runtimes.base import Progress
    from svf_edge.runtimes.devices.address import Address
    from svf_edge.runtimes.devices.examine import Task

DeviceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        "-d",
        help="Do it there: local, ssh://user@host:port or adb://serial, with a folder behind if wanted. Repeatable.",
        show_default=False,
    ),
]
CardsOption = Annotated[Path, typer.Option("--cards", help="Folder for device cards, with --device.")]
CleanOption = Annotated[bool, typer.Option("--clean", help="Remove the bundle from the device afterwards.")]
SshConfigOption = Annotated[
    Path | None, typer.Option("--ssh-config", help="Configuration file for ssh, with --device.", show_default=False)
]
CARDS = Path("device-cards")


def devices(
    address: Annotated[
        list[str] | None, typer.Argument(help="Devices to describe besides those attached to adb.", show_default=False)
    ] = None,
    ssh_config: SshConfigOption = None,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what svf-edge left on these devices.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the result as JSON.", show_default=False)
    ] = None,
) -> None:
    """Describe devices: those attached to adb, and those given by address.

    Exit code 1 when a device given by address cannot be reached.

    Example: `svf-edge devices local ssh://pi@raspberrypi`
    """
    from rich.console import Console

    from svf_edge.files import write_text
    from svf_edge.runtimes.devices.adb import attached
    from svf_edge.runtimes.devices.address import parse_address
    from svf_edge.runtimes.devices.conditions import Identity, identify
    from svf_edge.runtimes.devices.connect import transport
    from svf_edge.runtimes.devices.store import Store
    from svf_edge.runtimes.devices.tables import device_lines

    given = [parse_address(url) for url in address or []]
    wanted = {item.url: item for item in given}
    with suppress(SvfError):  # a computer without adb has no such devices
        known = {item.host for item in given if item.kind == "adb"}
        wanted |= {f"adb://{serial}": parse_address(f"adb://{serial}") for serial in attached() if serial not in known}
    found: list[tuple[str, Identity | str]] = []
    for url, item in wanted.items():
        try:
            with transport(item, ssh_config) as device:
                identity = identify(device)
                if clean:
                    Store(device, item.folder or identity.cache).remove()
            found.append((url, identity))
        except SvfError as error:
            found.append((url, str(error)))
    console = Console()
    if not found:
        console.print("no device is attached to adb; give the address of one: svf-edge devices ssh://user@host")
        return
    for url, one in found:
        console.print("\n".join(device_lines(url, one)), markup=False, highlight=False, soft_wrap=True)
    if json is not None:
        from pydantic_core import to_json

        entries = [{"device": url, "identity": one if isinstance(one, Identity) else None} for url, one in found]
        write_text(json, to_json(entries, indent=1).decode() + "\n")
    if any(isinstance(one, str) and url in {item.url for item in given} for url, one in found):
        raise typer.Exit(1)


def on_devices(bundle: Path, urls: Sequence[str], task: Task, cards: Path, json: Path | None) -> None:
    """Do `task` on devices, show and store their cards. Exits with 1 when one of them fails or differs."""
    from pydantic_core import to_json
    from rich.console import Console
    from rich.markup import escape

    from svf_edge.export.bundle import Bundle
    from svf_edge.files import write_text
    from svf_edge.runtimes.devices.address import parse_address
    from svf_edge.runtimes.devices.card import DeviceCard
    from svf_edge.runtimes.devices.examine import examine_all
    from svf_edge.runtimes.devices.tables import card_tables

    addresses = [parse_address(url) for url in urls]
    opened = Bundle.open(bundle)
    with _Bars(addresses) as progress:
        found = examine_all(addresses, opened, task, progress.of)
    console, complaints = Console(), Console(stderr=True, highlight=False, soft_wrap=True)
    done = [one for _, one in found if isinstance(one, DeviceCard)]
    for card in done:
        console.print(card_tables(card))
        console.print(f"card: {card.store(cards)}", markup=False, soft_wrap=True)
    for _, one in found:
        if isinstance(one, SvfError):
            complaints.print("[bold red]error:[/]", escape(str(one)))
    if json is not None and done:
        write_text(json, to_json(done, indent=1).decode() + "\n")
    if len(done) < len(found) or not all(done):
        raise typer.Exit(1)


def refuse_with_device(**options: object) -> None:
    """Raise `UnsupportedInput` for an option that a device cannot heed."""
    for name, value in options.items():
        if value:
            raise UnsupportedInput(
                f"--{name} does not go with --device: a device tests itself on the bundle's golden clips; export the "
                "bundle with the clips you want (svf-edge export --clip)"
            )


class _Bars:
    """A progress bar per device on standard error, gone when the work is done."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._tasks = {address: self._bar.add_task(str(address), total=1.0) for address in addresses}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def of(self, address: Address) -> Progress:
        """The `Progress` of one device."""

        def show(what: str, part: float) -> None:
            self._bar.update(self._tasks[address], description=f"{address}: {what}", completed=part)

        return show
