"""What the side panel says, as plain values: the browser only writes them down."""

from typing import Any

import msgspec

from dashboards.feed import Snapshot
from dashboards.picture import Picture
from dashboards.scene import Layout, ordered
from streams.messages import DetectorStatus, FrameHeader, PreviewHeader, Provenance, StatusHeader

RECENT_S = 60.0
"""So long before the last heartbeat a message of another version is worth a line."""

FRAME_FIELDS = (
    *("exposure_id", "revision", "mode", "reads_per_end", "ramps", "ramps_planned", "effective_s"),
    *("reads_used", "reads_lost", "reads_rejected", "complete", "final", "sky_scale", "crds_context", "notes"),
)
"""What the panel says of a frame, straight from its header."""


def state(snapshot: Snapshot, layout: Layout, viewers: int) -> dict[str, Any]:
    """Describe the whole stream: the daemon, and each detector in the order of the display.

    Times are milliseconds of this process's monotonic clock; the browser knows its offset to it.
    """
    heard = snapshot.status_heard_s
    return {
        "kind": "state",
        "version": snapshot.version,
        "detectors": [_detector(snapshot, name) for name in ordered(snapshot, layout)],
        "mosaic": [name for name in layout.detectors if name in snapshot.detectors()],
        "daemon": _daemon(snapshot.status) if snapshot.status else None,
        "problems": _problems(snapshot),
        "status_heard_ms": None if heard is None else heard * 1000.0,
        "display": {**snapshot.counters, "viewers": viewers},
    }


def _problems(snapshot: Snapshot) -> list[str]:
    """Return what an operator should know: what the daemon says, and what cannot be understood of it."""
    told = list(snapshot.status.problems) if snapshot.status else []
    other = snapshot.counters.get("rejected_version", 0)
    if snapshot.other_version_s is not None and snapshot.other_version_s > (snapshot.status_heard_s or 0) - RECENT_S:
        told.insert(
            0, f"{other} messages are of another version than this display understands; update the older of the two"
        )
    if snapshot.counters.get("frames_thinned", 0) or snapshot.counters.get("pictures_too_large", 0):
        told.append("this display has too little memory for all pixels of the newest frames: raise dashboard.memory_mb")
    return told


def _daemon(status: StatusHeader) -> dict[str, Any]:
    return {
        "state": status.state,
        "period_ms": status.period_s * 1000.0,
        "software": status.software,
        "crds_context": status.crds_context,
        "counters": status.counters,
    }


def _detector(snapshot: Snapshot, name: str) -> dict[str, Any]:
    status = snapshot.status.detectors.get(name) if snapshot.status else None
    preview, frame = snapshot.pictures.get((name, "ramp")), snapshot.pictures.get((name, "reduced"))
    return {
        "name": name,
        "progress": _progress(status, preview),
        "queued": status.queued if status else 0,
        "latency_s": status.latency_s if status else None,
        "counters": status.counters if status else {},
        "references": [_reference(reference) for reference in status.references] if status else [],
        "frame": _frame(frame) if frame else None,
        "preview_published_ms": preview.published_s * 1000.0 if preview else None,
    }


def _progress(status: DetectorStatus | None, preview: Picture | None) -> dict[str, Any]:
    """Tell the ramp in progress; a preview is newer than the status between heartbeats, so it goes first."""
    if preview is not None and isinstance(preview.header, PreviewHeader):
        header = preview.header
        done = {"exposure_id": header.exposure_id, "ramp": header.ramp, "read": header.read}
        return done | {
            "ramps_planned": header.ramps_planned,
            "reads_planned": header.reads_planned,
            "reads_used": header.reads_used,
            "reads_lost": header.reads_lost,
            "effective_s": header.effective_s,
        }
    if status is not None and status.exposure_id:
        done = {"exposure_id": status.exposure_id, "ramp": status.ramp, "read": status.read}
        return done | {"ramps_planned": 0, "reads_planned": status.reads_planned}
    return {}


def _frame(picture: Picture) -> dict[str, Any] | None:
    header = picture.header
    if not isinstance(header, FrameHeader):
        return None
    return {name: getattr(header, name) for name in FRAME_FIELDS} | {
        "published_ms": picture.published_s * 1000.0,
        "quality": msgspec.structs.asdict(header.quality) if header.quality else None,
        "references": [_reference(reference) for reference in header.references],
        "setup": header.setup,
    }


def _reference(reference: Provenance) -> dict[str, Any]:
    return {
        "reftype": reference.reftype,
        "status": reference.status,
        "name": reference.name,
        "age_s": reference.age_s,
        "note": reference.note,
    }
