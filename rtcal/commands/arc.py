"""`rtcal arc`: wavelengths from arc lamps."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import numpy as np
import typer
from astropy.io import fits
from msgspec.structs import replace

from rtcal.commands.arc_edit import edit
from rtcal.commands.common import ConfigOption, JsonOption, OverrideOption, load_settings, progress_bar, say
from rtcal.commands.refs_common import print_rows
from rtcal.commands.refs_make_common import PEDIGREES
from rtcal.config import Settings
from rtcal.errors import UsageError
from rtcal.refmake.plots import check_plot
from rtcal.spectrograph.arc import solve
from rtcal.spectrograph.arcfile import read_arc, read_solution, read_traces
from rtcal.spectrograph.arcframes import ArcFrame, load_frames, load_spectra, spectra_of, together
from rtcal.spectrograph.arcplot import plot_residuals
from rtcal.spectrograph.arcwrite import write_arc
from rtcal.spectrograph.detection import Spectra
from rtcal.spectrograph.linelists import LineList, Medium, lamp_lines, read_lines
from rtcal.spectrograph.settings import ArcSettings
from rtcal.spectrograph.solution import ArcSolution
from rtcal.spectrograph.traces import Traces, cut_to_light, find_traces
from streams.fits_files import open_fits
from streams.messages import Scalar

arc = typer.Typer(help="Wavelengths of the spectrograph from arc lamps.", no_args_is_help=True)
arc.command("edit")(edit)

WORST = 10
SOME = f"traces that are not OK, and the {WORST} of the others with the largest residuals"
LAMP_KEYS = ("LAMPS", "LAMP", "ARCLAMP")


@arc.command("solve")
def solve_(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="ARC...", help="Reduced arcs, arc reads, or tables of spectra.", show_default=False),
    ],
    lamps: Annotated[str, typer.Option("--lamps", help="Elements of the lamps, e.g. Ar,Ne (Ar, Ne, Kr, Xe).")],
    wave_range: Annotated[
        tuple[float, float],
        typer.Option(
            "--wave-range", metavar="LO HI", help="Wavelengths [um] at the spectra's first and last pixel, roughly."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The ARC reference to write.")],
    lines: Annotated[
        Path | None, typer.Option("--lines", metavar="FILE", help="Table of lines in place of the program's own.")
    ] = None,
    medium: Annotated[str, typer.Option("--medium", help="Wavelengths of --lines: auto, air or vacuum.")] = "auto",
    traces: Annotated[
        Path | None,
        typer.Option("--traces", metavar="FILE", help="File with a table TRACES; an older arc is a first guess too."),
    ] = None,
    flat: Annotated[
        Path | None, typer.Option("--flat", metavar="FILE", help="Reduced flat to find spectra in.")
    ] = None,
    spectrum: Annotated[
        int | None, typer.Option("--spectrum", metavar="N", help="Solve spectrum N alone, from 1 (tables of spectra).")
    ] = None,
    order: Annotated[
        int | None, typer.Option("--order", help="Order of the polynomials; without it what the lines ask for.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Residuals as a picture; else beside FILE, as .png.")
    ] = None,
    override: OverrideOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
    pedigree: Annotated[str, typer.Option(help="INFLIGHT, GROUND, SIMULATION or DUMMY.")] = "GROUND",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Solve arcs: every spectrum found, its lines matched to the lamps', a wavelength for every pixel.

    The range may be off by 20 pixels and 2 %. Several arcs, e.g. one for each lamp, are solved together. Spectra
    run along the rows. They are found in the arc itself if they are apart from each other; else give --flat
    or --traces.

    Examples:

        rtcal arc solve arc_H.fits --lamps Ar,Ne --wave-range 1.487 1.783 --out arc_H_ref.fits

        rtcal arc solve ramps/arc_D --override dark=dark.fits --lamps Ar,Ne --wave-range 1.48 1.79 --out arc.fits

        rtcal arc solve spectrum.fits --spectrum 3 --lamps Ar --lines my_lines.dat --wave-range 1.10 1.54 --out o5.fits
    """
    _check(out, overwrite, pedigree, medium, wave_range)
    picture = plot or out.with_suffix(".png")
    check_plot(picture, overwrite)
    elements = [name.strip().capitalize() for name in lamps.split(",") if name.strip()]
    listed, said = _lines(lines, elements, cast(Medium, medium))
    for line in said:
        say(line)
    settings = load_settings(config, override=override, night={"use": False})
    how = settings.arc if order is None else replace(settings.arc, order=order)
    arcs, where, shape, header, start = _load(inputs, settings, traces, flat, spectrum)
    _warn_of_lamps(header, elements)
    with progress_bar() as progress:
        task = progress.add_task("traces", total=len(where))
        known = read_solution(traces) if traces is not None else []
        if known and len(known) != len(where):
            raise UsageError(f"{traces} has {len(known)} traces, the arc {len(where)} spectra: it is of another mode")
        solution = solve(arcs, listed, wave_range, how, lambda done, _: progress.update(task, completed=done), known)
    history = [f"from {path.name}" for path in inputs] + [f"lines: {lines.name if lines else 'own tables'}"]
    light = together(arcs)
    kept = pedigree.upper()
    write_arc(
        out, solution, where, shape, header, elements, start, history, spectra=light, pedigree=kept, overwrite=overwrite
    )
    summary = f"{len(solution.solved)} of {len(where)} traces, order {solution.order}, {_figures(solution)}"
    plot_residuals(picture, solution, where.middle_y, f"{out.name}: {summary}")
    if as_json:
        json.dump(_answer(out, picture, solution, where, how), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    _report(solution, where)
    say(f"{out}: {summary}")
    say(f"{picture}: residuals")


@arc.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="An ARC reference.")],
    trace: Annotated[int | None, typer.Option("--trace", metavar="ID", help="The lines of this trace.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an ARC reference holds: its setup and quality, the traces, or the lines of one.

    Examples:

        rtcal arc show arc.fits

        rtcal arc show arc.fits --trace 17
    """
    solved = read_arc(file)
    with open_fits(file) as hdus:
        table, lines = hdus["TRACES"].data, hdus["LINES"].data if "LINES" in hdus else None
        if trace is not None:
            if trace not in set(table["ID"].tolist()):
                raise UsageError(f"{file}: no trace {trace}; there are {table['ID'].min()} to {table['ID'].max()}")
            chosen = [] if lines is None else [_line_row(row) for row in lines[lines["ID"] == trace]]
            print_rows(chosen, as_json, f"{file.name}, trace {trace}")
            return
        rows = [_trace_row(row) for row in table]
    keys = ("INSTRUME", "DETECTOR", "INSTMODE", "GRATING", "FILTER", "SCALE", "LAMPS", "USEAFTER", "PEDIGREE")
    facts = ", ".join(f"{key} {solved.header[key]}" for key in keys if key in solved.header)
    numbers = [key for key in ("NTRACE", "NGOOD", "RMSPX", "RMSKMS") if key in solved.header]
    quality = ", ".join(f"{key} {solved.header[key]:.4g}" for key in numbers)
    if as_json:
        print_rows(rows, True, "")
        return
    say(f"{file}: {facts}")
    say(quality)
    print_rows(_interesting(rows), False, SOME)


def _check(out: Path, overwrite: bool, pedigree: str, medium: str, wave_range: tuple[float, float]) -> None:
    """Say what is wrong before the work, not after."""
    if pedigree.upper() not in PEDIGREES:
        raise UsageError(f"--pedigree {pedigree}: choose {', '.join(PEDIGREES)}")
    if medium not in get_args(Medium):
        raise UsageError(f"--medium {medium}: choose {', '.join(get_args(Medium))}")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give --overwrite to replace it")
    low, high = sorted(wave_range)
    if not 0.2 < low < high < 30:
        given = f"--wave-range {wave_range[0]:g} {wave_range[1]:g}"
        raise UsageError(f"{given}: give two wavelengths in um, e.g. 1.487 1.783")


def _lines(lines: Path | None, elements: Sequence[str], medium: Medium) -> tuple[LineList, list[str]]:
    if not elements:
        raise UsageError("--lamps: name at least one element, e.g. Ar,Ne")
    return (lamp_lines(elements), []) if lines is None else read_lines(lines, elements, medium)


Loaded = tuple[list[Spectra], Traces, tuple[int, int], Mapping[str, Scalar], str]


def _load(
    inputs: Sequence[Path], settings: Settings, traces: Path | None, flat: Path | None, spectrum: int | None
) -> Loaded:
    """Return the spectra of each arc, where they lie, the detector's shape, header and start."""
    if len(inputs) == 1 and inputs[0].is_file():
        one = load_spectra(inputs[0], spectrum)
        if one is not None:
            return _as_rows(*one)
    if spectrum is not None:
        raise UsageError("--spectrum is for one table of spectra; detector images are solved whole")
    with progress_bar() as progress:
        task = progress.add_task("reads", total=None)
        frames = load_frames(inputs, settings, lambda: progress.advance(task))
    where = _traces(frames, traces, flat, settings)
    shape = frames[0].data.shape
    where.check(shape)
    half = max(2.0, 2.5 * float(where.sigma.max()))
    starts = [frame.start for frame in frames if frame.start]
    return spectra_of(frames, where, half), where, shape, frames[0].header, min(starts, default=_now())


def _as_rows(spectra: Spectra, header: Mapping[str, Scalar]) -> Loaded:
    """Take spectra without a detector as rows of one."""
    count, width = spectra.flux.shape
    number = np.arange(count)
    where = Traces(
        ident=number,
        ix=np.full(count, -1),
        iy=np.full(count, -1),
        column=np.zeros(count, np.int64),
        length=spectra.length,
        y=np.column_stack([number.astype(float), np.zeros((count, 2))]),
        sigma=np.zeros(count),
        height=np.ones(count),
    )
    return [spectra], where, (count, width), header, str(header.get("DATE-OBS", "") or _now())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _traces(frames: Sequence[ArcFrame], traces: Path | None, flat: Path | None, settings: Settings) -> Traces:
    if traces is not None:
        return read_traces(traces)
    if flat is not None:
        (lit,) = load_frames([flat], settings)
        found = find_traces(lit.data.astype(np.float64), lit.dq & np.uint32(1) == 0)
        (spectra,) = spectra_of([lit], found, max(2.0, 2.5 * float(found.sigma.max())))
        return cut_to_light(found, spectra.flux)
    total = np.sum([np.nan_to_num(frame.data.astype(np.float64)) for frame in frames], axis=0)
    good = np.logical_and.reduce([frame.dq & np.uint32(1) == 0 for frame in frames])
    return find_traces(total, good)


def _warn_of_lamps(header: Mapping[str, Scalar], elements: Sequence[str]) -> None:
    """Tell where the arc's own header names other lamps."""
    for key in LAMP_KEYS:
        names = {name.strip().capitalize() for name in str(header.get(key, "")).replace("+", ",").split(",")} - {""}
        if names and not names >= set(elements):
            say(f"warning: {key} of the arc says {', '.join(sorted(names))}, --lamps says {', '.join(elements)}")


def _figures(solution: ArcSolution) -> str:
    lines = sum(trace.matched.count for trace in solution.traces if trace.matched)
    return f"{lines} lines, rms {solution.rms_px:.4f} px, {solution.rms_km_s:.2f} km/s"


def _report(solution: ArcSolution, where: Traces) -> None:
    rows = []
    for index, trace in enumerate(solution.traces):
        one = trace.matched
        ends = one.wavelengths(np.array([one.first_px, one.last_px])) if one else (np.nan, np.nan)
        rows.append(
            {
                "trace": int(where.ident[index]),
                "y": f"{where.middle_y[index]:.2f}",
                "found": len(trace.found),
                "used": one.count if one else 0,
                "rms_px": f"{one.rms_px:.4f}" if one else "",
                "from_um": f"{ends[0]:.6f}" if one else "",
                "to_um": f"{ends[1]:.6f}" if one else "",
                "status": trace.status,
                "reason": trace.reason,
            }
        )
    chosen = rows if len(rows) <= 2 * WORST else _interesting(rows)
    print_rows(chosen, False, "" if len(chosen) == len(rows) else SOME)


def _interesting(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that are not OK, and the OK ones with the largest rms."""
    odd = [row for row in rows if row["status"] != "OK"]
    fine = sorted((row for row in rows if row["status"] == "OK"), key=lambda row: -float(row["rms_px"]))
    return odd + fine[:WORST]


def _trace_row(row: fits.FITS_record) -> dict[str, Any]:
    good = str(row["STATUS"]).strip() != "FAILED"
    return {
        "trace": int(row["ID"]),
        "spaxel": f"{row['IX']},{row['IY']}" if row["IX"] >= 0 else "",
        "x": f"{row['X0']}-{row['X1']}",
        "found": int(row["NFOUND"]),
        "used": int(row["NLINES"]),
        "rms_px": f"{row['RMS_PX']:.4f}" if good else "",
        "from_um": f"{row['WAVE0']:.6f}" if good else "",
        "to_um": f"{row['WAVE1']:.6f}" if good else "",
        "status": str(row["STATUS"]).strip(),
        "reason": str(row["REASON"]).strip(),
    }


def _line_row(row: fits.FITS_record) -> dict[str, Any]:
    known = bool(np.isfinite(row["WAVE"]))
    return {
        "x": f"{row['X']:.3f}",
        "flux": f"{row['FLUX']:.4g}",
        "snr": f"{row['SNR']:.0f}",
        "sigma": f"{row['SIGMA']:.2f}",
        "element": str(row["ELEMENT"]).strip(),
        "wavelength_um": f"{row['WAVE']:.7f}" if known else "",
        "residual_px": f"{row['RESID']:+.4f}" if known else "",
        "used": bool(row["USED"]),
    }


def _answer(out: Path, picture: Path, solution: ArcSolution, where: Traces, how: ArcSettings) -> dict[str, Any]:
    return {
        "path": str(out),
        "plot": str(picture),
        "traces": len(where),
        "solved": len(solution.solved),
        "order": solution.order,
        "rms_px": round(solution.rms_px, 5),
        "rms_km_s": round(solution.rms_km_s, 3),
        "snr_min": how.snr_min,
        "failed": [
            {"trace": int(where.ident[i]), "reason": trace.reason}
            for i, trace in enumerate(solution.traces)
            if trace.matched is None
        ],
    }
