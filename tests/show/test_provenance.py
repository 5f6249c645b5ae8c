from companion.show.provenance import Provenance


def test_footer_names_profile_runs_and_commit() -> None:
    provenance = Provenance("explanations", "quick", ("b", "a"), "abc1234def5678901234")
    assert provenance.footer() == f"profile quick · 2 runs {provenance.digest} · commit abc1234"


def test_digest_is_eight_hex_and_ignores_order_only() -> None:
    one = Provenance("s", "p", ("a", "b"), "c").digest
    assert one == Provenance("s", "p", ("b", "a"), "c").digest
    assert one != Provenance("s", "p", ("a", "c"), "c").digest
    assert one != Provenance("s", "p", ("ab",), "c").digest
    assert len(one) == 8
    assert int(one, 16) >= 0


def test_footer_counts_one_run_and_no_runs() -> None:
    assert "1 run " in Provenance("s", "p", ("a",), "c").footer()
    assert "no runs" in Provenance("s", "p", (), "c").footer()


def test_footer_keeps_the_mark_of_uncommitted_changes() -> None:
    assert Provenance("s", "p", (), "abc1234def5678-dirty").footer().endswith("commit abc1234-dirty")
    assert Provenance("s", "p", (), "abc1234def5678 1234567890abc").footer().endswith("commit abc1234 1234567")
    assert Provenance("s", "p", (), "unknown").footer().endswith("commit unknown")
