"""Transcripts of live clients against the log."""

from __future__ import annotations

from typing import Any

from tenure.chaos.transcript import Note, NoteKind, contradictions, last_to_hear, repeated

LOG = [{"seq": n, "id": f"e{n}", "type": "payment.seen", "iteration_id": None} for n in range(1, 9)]


def event(offset: int, seq: int | None = None, *, epoch: str = "a") -> Note:
    place = offset if seq is None else seq
    return Note(NoteKind.EVENT, offset, epoch, f"e{place}", place, "payment.seen")


def broken(*notes: Note, log: list[dict[str, Any]] = LOG) -> list[str]:
    return [finding.rule for finding in contradictions("client", "payments", notes, log)]


JOINED = Note(NoteKind.JOINED, 2, "a")


def test_a_whole_slice_from_where_the_client_joined_passes():
    assert broken(JOINED, *(event(n) for n in range(3, 8))) == []


def test_a_hole_is_found_by_offset_and_by_the_log():
    assert broken(JOINED, event(3), event(5)) == ["live.offset", "live.log"]


def test_the_first_event_after_joining_may_not_be_missing():
    assert broken(JOINED, event(4)) == ["live.offset"]


def test_an_event_that_comes_twice_is_found():
    assert "live.twice" in broken(JOINED, event(3), event(4), event(3))


def test_an_event_that_no_log_knows_is_found():
    assert broken(JOINED, event(3), Note(NoteKind.EVENT, 4, "a", "stranger", 4, "x")) == [
        "live.log",
        "live.log",
    ]


def test_events_that_are_numbered_in_a_row_but_left_one_out_are_found():
    assert broken(JOINED, event(3, 3), event(4, 5)) == ["live.log"]


def test_after_a_gap_that_was_told_anything_may_follow():
    assert broken(JOINED, event(3), Note(NoteKind.LOST, 6, ""), event(7), event(8)) == []


def test_after_an_incomplete_recovery_its_position_counts():
    lost = Note(NoteKind.LOST, 6, "b")
    assert broken(JOINED, event(3), lost, event(7, epoch="b")) == []
    assert broken(JOINED, event(3), lost, event(8, epoch="b")) == ["live.offset"]


def test_another_epoch_may_tell_again_and_that_is_counted():
    notes = [JOINED, event(3), event(4), event(1, 3, epoch="b"), event(2, 4, epoch="b")]
    assert broken(*notes) == []
    assert repeated(notes) == 2


def test_a_bulk_change_stands_for_its_events():
    log = [{**row, "type": "payment.seen", "iteration_id": "itr"} for row in LOG]
    bulk = Note(NoteKind.EVENT, 4, "a", "e6-bulk", 6, "payment.bulk_changed", ("itr", "payment.seen"))
    assert broken(JOINED, event(3), bulk, log=log) == []


def test_what_a_bulk_change_at_the_very_end_stands_for_is_not_waited_for():
    log = [*LOG[:5], *({**row, "iteration_id": "itr"} for row in LOG[5:])]
    bulk = Note(NoteKind.EVENT, 6, "a", "e6-bulk", 6, "payment.bulk_changed", ("itr", "payment.seen"))
    assert last_to_hear([JOINED, event(5)], log) == 8
    assert last_to_hear([JOINED, event(5), bulk], log) == 5
    assert last_to_hear([JOINED, bulk], [*log, {**LOG[0], "seq": 9}]) == 9
    assert last_to_hear([JOINED], []) == 0


def of_run(seq: int) -> dict[str, Any]:
    return {"seq": seq, "id": f"e{seq}", "type": "payment.seen", "iteration_id": "run"}


def test_events_whose_bulk_change_came_before_the_client_joined_are_not_missing():
    log = [LOG[0], *(of_run(seq) for seq in range(2, 70)), {**LOG[0], "seq": 70, "id": "e70"}]
    joined = Note(NoteKind.JOINED, 8, "a")
    assert broken(joined, event(9, 40), event(10, 70), log=log) == []
    few = [row for row in log if not 10 < row["seq"] < 40]
    assert broken(joined, event(9, 40), event(10, 70), log=few) == ["live.log"], "so few are told one by one"


def test_events_whose_bulk_change_was_not_told_are_missing():
    log = [*LOG[:3], *(of_run(seq) for seq in range(4, 70)), {**LOG[0], "seq": 70, "id": "e70"}]
    told = (JOINED, event(3), event(4, 70))
    assert broken(*told, log=log) == ["live.log"]
    assert broken(*told, Note(NoteKind.LOST, 9, ""), log=log) == ["live.log"]
