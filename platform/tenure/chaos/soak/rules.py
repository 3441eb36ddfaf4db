"""What a soak calls a finding. Pure: samples and log lines in, rows of the list out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import median
from typing import Any, Final

from tenure.chaos.soak.sampling import PoolSample, Sample

# The first minutes fill caches: imports, plans of statements, Flower's memory of tasks.
WARM_UP_SHARE: Final = 1 / 3
_LEAST_SAMPLES: Final = 6
# Memory: the bound is per hour, and what an interpreter's allocator does in between is not a slope.
MOST_MB: Final = 200.0
_NOISE_MB: Final = 10.0
_MB_PER_HOUR: Final = 1.0
# Files and threads come and go with connections; a leak goes one way.
_NOISE_HANDLES: Final = 6.0
_POOL_SHARE: Final = 0.8
_MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list: what was checked, what it should be, and what was seen."""

    check: str
    ok: bool
    expected: str
    seen: str

    def as_dict(self) -> dict[str, Any]:
        """As the evidence shows it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trend:
    """How one process fared after the warm-up; growth is over that time, by the median of all slopes."""

    role: str
    pid: int
    seconds: float
    rss_mb: float
    rss_peak_mb: float
    rss_growth_mb: float
    files_growth: float
    threads_growth: float

    def as_dict(self) -> dict[str, Any]:
        """As the evidence shows it."""
        return asdict(self)


def trends(samples: Iterable[Sample], *, duration_s: float) -> list[Trend]:
    """Of every process that was there long enough to have one."""
    of_process: dict[tuple[str, int, float], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.at_s >= duration_s * WARM_UP_SHARE:
            of_process[sample.role, sample.process.pid, sample.process.started].append(sample)
    return [
        Trend(
            role=role,
            pid=pid,
            seconds=seen[-1].at_s - seen[0].at_s,
            rss_mb=seen[-1].rss_mb,
            rss_peak_mb=max(one.rss_mb for one in seen),
            rss_growth_mb=round(_growth([(one.at_s, one.rss_mb) for one in seen]), 2),
            files_growth=round(_growth([(one.at_s, one.files) for one in seen]), 1),
            threads_growth=round(_growth([(one.at_s, one.threads) for one in seen]), 1),
        )
        for (role, pid, _), seen in sorted(of_process.items())
        if len(seen) >= _LEAST_SAMPLES
    ]


def memory(found: Sequence[Trend]) -> Row:
    """Beyond noise no process grows by more than a megabyte an hour; none reaches the alert's line."""
    bad = [
        f"{one.role}[{one.pid}] {one.rss_growth_mb:+.1f} to {one.rss_mb:.0f} MB"
        for one in found
        if one.rss_growth_mb > _NOISE_MB + _MB_PER_HOUR * one.seconds / 3600 or one.rss_peak_mb > MOST_MB
    ]
    most = max(found, key=lambda one: one.rss_growth_mb, default=None)
    calm = f"most: {most.role} {most.rss_growth_mb:+.1f} MB of {most.rss_mb:.0f}" if most else "no samples"
    return Row(
        "memory of each process is flat",
        bool(found) and not bad,
        f"growth below {_NOISE_MB:.0f} MB + {_MB_PER_HOUR:.0f} MB/h, peak below {MOST_MB:.0f} MB",
        _shown(bad) or calm,
    )


def handles(found: Sequence[Trend]) -> Row:
    """Open files and threads of no process climb."""
    bad = [
        f"{one.role}[{one.pid}] files {one.files_growth:+.0f}, threads {one.threads_growth:+.0f}"
        for one in found
        if max(one.files_growth, one.threads_growth) > _NOISE_HANDLES
    ]
    return Row(
        "open files and threads are flat",
        bool(found) and not bad,
        f"growth of at most {_NOISE_HANDLES:.0f}",
        _shown(bad) or f"{len(found)} processes watched",
    )


def pool_said(lines: Iterable[Mapping[str, Any]], *, expected: int) -> Row:
    """Every process that serves requests said at its start how large its pool is."""
    sizes = [line.get("max_size") for line in lines if line.get("event") == "db.pool"]
    web = [size for size in sizes if size == expected]
    return Row("pool size in the log", bool(web), f"db.pool max_size={expected}", f"{sizes}")


def pool_used(samples: Sequence[PoolSample], refused: int, *, size: int) -> Row:
    """The pool was never near its end, and nobody was turned away for want of a connection."""
    peak = max((one.used for one in samples), default=0)
    opened = [one.open for one in samples]
    if opened and max(opened) > opened[0]:
        # It opens one only when all it has are in use: between two samples it needed that many at once.
        peak = max(peak, *opened)
    return Row(
        "no pool exhaustion",
        bool(samples) and peak <= size * _POOL_SHARE and refused == 0,
        f"at most {size * _POOL_SHARE:.0f} of {size} in use, no answer 503",
        f"peak {peak}, {refused} answers 503",
    )


def unended(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The iterations that have ITERATION_START in the log and no ITERATION_END."""
    events: dict[str, set[str]] = {"ITERATION_START": set(), "ITERATION_END": set()}
    for line in lines:
        if line.get("event") in events:
            events[line["event"]].add(str(line["iteration_id"]))
    return sorted(events["ITERATION_START"] - events["ITERATION_END"])


def ended(started: int, left: Sequence[str]) -> Row:
    """START has END for all."""
    return Row(
        "START -> END for all", started > 0 and not left, "0 open", f"{started} started, {len(left)} open"
    )


def silent(lines: Iterable[Mapping[str, Any]], event: str) -> Row:
    """This event is nowhere in the logs."""
    found = [str(line.get("role", "?")) for line in lines if line.get("event") == event]
    return Row(f"no {event}", not found, "0", f"{len(found)} {_shown(sorted(set(found)))}".strip())


def unhandled(lines: Iterable[Mapping[str, Any]]) -> Row:
    """Nobody logged an error that was not dealt with."""
    found = Counter(
        f"{line.get('role', '?')}: {line.get('event', line.get('exception', ''))}"[:120]
        for line in lines
        if line.get("level") in {"error", "critical"} or "exception" in line
    )
    seen = _shown([f"{count} x {what}" for what, count in found.most_common()])
    return Row("no unhandled error in the logs", not found, "0", seen or "0")


def counted(check: str, found: Sequence[str], *, expected: str = "0") -> Row:
    """A list that should be empty."""
    return Row(check, not found, expected, f"{len(found)}: {_shown(found)}" if found else "0")


def _growth(points: Sequence[tuple[float, float]]) -> float:
    """The median slope between all pairs of points, over their whole time: one outlier changes nothing."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    return median(slopes) * (points[-1][0] - points[0][0]) if slopes else 0.0


def _shown(found: Sequence[str]) -> str:
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return "; ".join(found[:_MOST_SHOWN]) + more
