"""The benchmark reads perf_analyzer's reports and renders its table; nothing here depends on time."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the installed package

from benchmarks import inprocess, perf, report, soak  # noqa: E402
from benchmarks.layout import write_models  # noqa: E402
from benchmarks.rows import (  # noqa: E402
    BATCH,
    BATCHED,
    CALL_MEGA,
    CALL_SMALL,
    COMPAT,
    FLOOR,
    MEGA,
    OURS,
    ROWS,
    SMALL,
    STOCK,
    STREAM,
    Target,
    models,
)
from triton_backend_sdk.tools.errors import HandledError  # noqa: E402

ROW = {row.key: row for row in ROWS}
# As perf_analyzer 2.44.0 wrote them here, the floor, 16 floats, in-process.
CSV = """\
Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,Server \
Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency
1,100172,6,0,3,0,1,0,0,7,9,10,13
"""
EXPORT = {
    "experiments": [
        {
            "experiment": {"mode": "concurrency", "value": 1},
            "requests": [
                {"timestamp": 1000, "response_timestamps": [91000]},  # before the first window
                {"timestamp": 200000, "response_timestamps": [207731]},
                {"timestamp": 300000, "response_timestamps": [308000]},
                {"timestamp": 400000, "response_timestamps": []},  # cut off by the end
            ],
            "window_boundaries": [150000, 280000, 500000],
        }
    ]
}


def test_the_table_of_perf_analyzer_is_read():
    assert perf.parse_table(CSV) == perf.Sample(rate=100172, p50_us=7, p99_us=13)


def test_a_table_without_a_measurement_is_an_error():
    with pytest.raises(HandledError, match="0 lines"):
        perf.parse_table(CSV.splitlines()[0] + "\n")


def test_latencies_are_those_of_the_requests_in_the_windows():
    assert perf.parse_requests(json.dumps(EXPORT)) == [7.731, 8.0]


@pytest.fixture
def results():
    rates = {STOCK: 100.0, FLOOR: 500.0, OURS: 400.0, BATCHED: 450.0, COMPAT: 350.0}
    samples = {
        (row, peer): [
            perf.Sample(rates[peer] * noise, 1e6 / rates[peer] * noise, 1e7) for noise in (0.5, 1, 9)
        ]
        for row in ROWS
        for peer in row.peers
    }
    return report.collect(samples, {"CPU": "a CPU, 2 cores", "Python": "3.11"}, 3, 500)


def test_the_lines_hold_medians_and_ratios(results):
    lines = {(line.title, line.metric): line.cells()[1:] for line in report.lines(results)}
    assert lines["16 floats, in-process", "p50"] == ("10.00 ms", "2.50 ms", "2.00 ms", "0.250x", "1.25x")
    assert lines["16 MB, in-process", "rate"] == ("100/s", "400/s", "500/s", "4.00x", "0.800x")
    assert lines["64 at once, dynamic batching, gRPC, @batched", "rate"][1] == "450/s"


def test_the_markdown_says_what_was_reached_and_missed_and_on_what(results):
    text = report.markdown(results)
    assert "| 16 MB, in-process | 100/s | 400/s | 500/s | 4.00x | 0.800x |\n" in text
    assert "- reached: 16 MB, in-process: requests/s 4.00x of stock, target >= 3.5x\n" in text
    assert "- missed: 16 MB, in-process: requests/s 0.800x of floor, target >= 0.9x\n" in text
    assert "CPU a CPU, 2 cores, Python 3.11" in text


def test_the_same_model_py_has_a_table_of_its_own(results):
    line = "| 16 MB, in-process | 100/s | 350/s | 3.50x | 400/s |\n"
    both, one = report.markdown(results), report.model_py_markdown(results)
    assert line in both
    assert line in one
    missed = (
        "1 MB through a call to another model, the same model.py: requests/s 3.50x of stock, target >= 4x"
    )
    assert f"- missed: {missed}\n" in both
    assert f"- missed: {missed}\n" in one
    assert "this SDK" not in one
    assert "- reached: 16 floats, in-process, the same model.py: requests/s 3.50x of stock" in one


def test_what_must_be_measured_of_a_model_py_is():
    rows = {row.key for row in ROWS if COMPAT in row.peers}
    assert rows == {"small", "large", "strings", "stream", "call-hop", "call-large"}
    targets = {row.key: target.limit for row in ROWS for target in row.targets if target.of == "compat"}
    assert targets == {"small": 3, "large": 3, "strings": 3, "call-large": 4}


def test_a_model_py_is_the_same_file_on_both_backends(tmp_path):
    for peer in (STOCK, COMPAT):
        write_models(peer, tmp_path / peer.key, models(peer, own_client=True))
    stock = {file.relative_to(tmp_path / "stock"): file for file in tmp_path.glob("stock/*/1/model.py")}
    compat = {file.relative_to(tmp_path / "compat"): file for file in tmp_path.glob("compat/*/1/model.py")}
    assert len(compat) == 5
    assert all(stock[name].read_bytes() == file.read_bytes() for name, file in compat.items())


def test_rows_that_were_not_measured_are_left_out(results):
    del results["rows"]["large"]
    assert "16 MB, in-process" not in report.markdown(results)
    assert "16 MB, in-process" not in report.model_py_markdown(results)


def test_a_row_without_a_floor_shows_what_nobody_can_exceed(results):
    sleeping = next(line for line in report.lines(results) if line.row.key == "sleep")
    assert sleeping.cells()[1:] == ("100/s", "400/s", "ideal 2,000/s", "4.00x", "")
    text = "200 at once that sleep 100 ms, in-process: requests/s 0.200x of ideal, target >= 0.9x"
    assert list(sleeping.verdicts()) == [(False, text)]


def test_a_target_may_be_a_time(results):
    hop = next(line for line in report.lines(results) if line.row.key == "call-hop")
    words = "16 floats, a call to another model adds: p50 2.50 ms, target <= 15 us"
    assert list(hop.verdicts()) == [(False, words)]


def test_streams_are_measured_in_responses():
    lines = [
        "I1121 11:36:39.806609 15914 server.cc:345] a line of the log",
        '{"model": "small", "requests_per_s": 9.0, "responses_per_s": 9.0, "p50_us": 3.5, "p99_us": 5.0}',
        '{"model": "call_small", "requests_per_s": 3.0, "responses_per_s": 3000.0, "p50_us": 15.0, "p99_us": 9.0}',
    ]
    assert inprocess.parse(lines[::2], ROW["stream"]) == perf.Sample(3000, 15, 9)
    assert inprocess.parse(lines, ROW["call-hop"]) == perf.Sample(3, 11.5, 9)
    with pytest.raises(HandledError, match="measured 0 models"):
        inprocess.parse(lines[:1], ROW["call-large"])


def test_perf_analyzers_rate_of_a_stream_is_that_of_its_responses():
    table = CSV.replace("Second,", "Second,Response Throughput,").replace("100172,", "100172,100172000,")
    assert perf.parse_table(table) == perf.Sample(rate=100172000, p50_us=7, p99_us=13)


def test_the_callee_of_a_model_is_loaded_too_and_measured_where_it_counts():
    assert ROW["call-large"].loaded() == [(MEGA, False), (CALL_MEGA, True)]
    assert ROW["call-hop"].loaded() == [(SMALL, True), (CALL_SMALL, True)]
    assert ROW["small"].loaded() == [(SMALL, True)]


def test_each_peer_serves_the_models_of_its_rows():
    assert models(BATCHED, own_client=False) == [BATCH]
    assert set(models(FLOOR, own_client=True)) == {STREAM, SMALL, CALL_SMALL, MEGA, CALL_MEGA}


@pytest.mark.parametrize(
    ("metric", "ratio", "reached"),
    [("p50", 0.25, True), ("p50", 0.26, False), ("rate", 0.25, True), ("rate", 0.2, False)],
)
def test_a_latency_is_to_be_below_its_target_and_a_rate_above(metric, ratio, reached):
    assert Target(metric, "stock", 0.25).reached(ratio) is reached


def test_the_written_table_is_that_of_the_written_numbers():
    folder = ROOT / "benchmarks" / "results"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for page, (name, render) in report.PAGES.items():
        assert (folder / name).read_text(encoding="utf-8") == render(results)
        mark, end = report.MARKS[0].format(name), report.MARKS[1]
        shown = (ROOT / page).read_text(encoding="utf-8").split(f"{mark}\n")[1].split(end)[0]
        assert shown == render(results)


def test_all_backends_get_the_same_config_but_for_the_name():
    assert BATCH.config(OURS).replace('"identity"', '"floor_identity"') == BATCH.config(FLOOR)
    assert "dynamic_batching" in BATCH.config(OURS)


def test_the_soak_test_compares_the_second_tenth_of_the_requests_with_the_last():
    flat = [(done, 100 + (done == 50) * 900) for done in range(1, 101)]
    assert soak.summary([(1, 5), *flat]) == (100, 100)
    growing = [(done, done) for done in range(1, 101)]
    assert soak.summary(growing) == (15, 95)
