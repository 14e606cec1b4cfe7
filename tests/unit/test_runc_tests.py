"""The runner of runc's tests: bats' output, and its judgement."""

from __future__ import annotations

from conformance.runc_tests import Results, judge, load_reasons, report

OUTPUT = """1..4
ok 1 runc run
not ok 2 runc run [why] (userns)
# (in test file run.bats, line 3)
#   ok 9 quoted
ok 3 runc run (cgroup v2) # skip test requires cgroups_v2
ok 4 runc exec
"""


def results(name: str = "ocipy") -> Results:
    found = Results(name)
    found.add("run.bats", OUTPUT)
    return found


def test_what_bats_prints() -> None:
    found = results()
    assert found.passed == {"run.bats: runc run", "run.bats: runc exec"}
    assert found.failed == {"run.bats: runc run [why] (userns)"}
    assert found.skipped == {"run.bats: runc run (cgroup v2)"}


def test_a_failure_needs_a_reason_or_the_references_company() -> None:
    failed = "run.bats: runc run [why] (userns)"
    assert judge(results(), None, {}) == [f"{failed}: failed"]
    assert judge(results(), None, {failed: "words"}) == []
    assert judge(results(), results("runc"), {}) == []
    assert judge(results(), Results("runc"), {}) == [f"{failed}: failed"]


def test_a_listed_test_that_passes_is_reported() -> None:
    reasons = {"run.bats: runc run": "words", "run.bats: runc run [why] (userns)": "words"}
    assert judge(results(), None, reasons) == ["run.bats: runc run: passed, but is listed"]


def test_the_report_says_why() -> None:
    name = "run.bats: runc run [why] (userns)"
    assert report([results()], {}).endswith(f"not passed: {name}: NOT EXPECTED")
    assert report([results()], {name: "words"}).endswith(f"not passed: {name}: words")
    assert report([results(), results("/x/runc")], {}).endswith(f"not passed: {name}: runc fails too")


def test_the_list_can_be_read() -> None:
    reasons = load_reasons()
    assert reasons["version.bats: runc version"]
    assert all(reasons.values())
