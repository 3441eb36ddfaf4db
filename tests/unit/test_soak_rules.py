"""What a soak finds, and what it lets pass."""

from __future__ import annotations

from tenure.chaos.soak import rules
from tenure.chaos.soak.sampling import PoolSample, Sample
from tenure.embedded.process import Identity

MINUTES_S = 900.0


def life(
    role: str, *, rss: float = 90, mb_per_hour: float = 0, files: float = 0, wobble: float = 0
) -> list[Sample]:
    """One process sampled every five seconds; it fills its caches in the first three minutes."""
    samples = []
    for n in range(1, 181):
        at_s = n * 5.0
        warm = min(at_s / 180, 1) * 30
        grown = mb_per_hour * at_s / 3600 + (wobble if n % 7 == 0 else 0)
        samples.append(
            Sample(at_s, role, Identity(10, 1.0), rss - 30 + warm + grown, round(20 + files * n), 9)
        )
    return samples


def trends(samples: list[Sample]) -> list[rules.Trend]:
    return rules.trends(samples, duration_s=MINUTES_S)


def test_a_process_that_fills_its_caches_and_then_stays_is_flat() -> None:
    found = trends(life("web"))
    assert [(one.role, one.rss_growth_mb) for one in found] == [("web", 0.0)]
    assert rules.memory(found).ok
    assert rules.handles(found).ok


def test_a_process_that_grows_without_end_is_found() -> None:
    row = rules.memory(trends([*life("web"), *life("relay", mb_per_hour=120)]))
    assert not row.ok
    assert "relay[10]" in row.seen
    assert "web" not in row.seen


def test_short_peaks_are_no_slope() -> None:
    assert rules.memory(trends(life("web", wobble=60))).ok


def test_a_process_beyond_the_alerts_line_is_found_however_flat() -> None:
    assert not rules.memory(trends(life("web", rss=230))).ok


def test_files_that_are_never_closed_are_found() -> None:
    row = rules.handles(trends(life("web", files=0.1)))
    assert (row.ok, row.seen) == (False, "web[10] files +12, threads +0")


def test_a_process_that_lived_too_briefly_has_no_trend() -> None:
    assert trends(life("worker")[-4:]) == []


def test_without_samples_nothing_is_proved() -> None:
    assert not rules.memory([]).ok
    assert not rules.handles([]).ok


def line(event: str, **more: object) -> dict[str, object]:
    return {"role": "worker", "level": "info", "event": event, **more}


def test_a_start_without_an_end_is_open() -> None:
    lines = [
        line("ITERATION_START", iteration_id="itr_1"),
        line("ITERATION_END", iteration_id="itr_1"),
        line("ITERATION_START", iteration_id="itr_2"),
        line("slot.skipped"),
    ]
    assert rules.unended(lines) == ["itr_2"]
    assert not rules.ended(2, ["itr_2"]).ok
    assert rules.ended(2, []).ok
    assert not rules.ended(0, []).ok, "where nothing ran nothing is proved"


def test_the_pools_size_must_have_been_said() -> None:
    assert rules.pool_said([line("db.pool", max_size=25), line("db.pool", max_size=2)], expected=25).ok
    assert not rules.pool_said([line("db.pool", max_size=2)], expected=25).ok


def test_a_pool_near_its_end_and_an_answer_503_are_found() -> None:
    calm = [PoolSample(open=5, used=1), PoolSample(open=5, used=3)]
    assert rules.pool_used(calm, 0, size=25).ok
    assert not rules.pool_used(calm, 1, size=25).ok
    assert not rules.pool_used([*calm, PoolSample(open=21, used=21)], 0, size=25).ok
    assert not rules.pool_used([], 0, size=25).ok, "without samples nothing is proved"


def test_a_pool_that_had_to_grow_was_in_use_as_far_as_it_grew() -> None:
    grown = [PoolSample(open=5, used=1), PoolSample(open=23, used=0)]
    assert not rules.pool_used(grown, 0, size=25).ok
    from_the_start = [PoolSample(open=23, used=1), PoolSample(open=23, used=0)]
    assert rules.pool_used(from_the_start, 0, size=25).ok


def test_an_alarm_anywhere_in_the_logs_is_found() -> None:
    assert rules.silent([line("ITERATION_END")], "WORKER_TIMEOUT").ok
    row = rules.silent([line("WORKER_TIMEOUT"), line("WORKER_TIMEOUT")], "WORKER_TIMEOUT")
    assert (row.ok, row.seen) == (False, "2 worker")


def test_errors_and_tracebacks_in_the_logs_are_found_and_counted() -> None:
    assert rules.unhandled([line("a"), {**line("b"), "level": "warning"}]).ok
    row = rules.unhandled([{**line("boom"), "level": "error"}] * 3 + [line("quiet", exception="Traceback …")])
    assert (row.ok, row.seen) == (False, "3 x worker: boom; 1 x worker: quiet")


def test_a_long_list_is_shown_shortened() -> None:
    row = rules.counted("drained", [f"thing {n}" for n in range(7)])
    assert row.seen == "7: thing 0; thing 1; thing 2; thing 3; thing 4 and 2 more"
