"""Texts of any length share a batch up to 512 tokens, and get the same answers as one by one."""

import numpy as np

LENGTHS = [300, 200, 20, 400, 600, 1, 0]


def text(length):
    return {"TOKENS": np.arange(length, dtype=np.int64)[None]}


def test_the_budget_makes_the_batches(fake_host):
    host = fake_host("token_budget.plugin")

    batches = host.batches([text(length) for length in LENGTHS])

    found = [[request["TOKENS"].shape[1] for request in batch] for batch in batches]
    assert found == [[300, 200], [20, 400], [600], [1, 0]]  # a text above the budget goes alone


def test_together_is_as_one_by_one(fake_host):
    host = fake_host("token_budget.plugin")

    together = host.execute([text(length) for length in LENGTHS])

    for length, result in zip(LENGTHS, together, strict=True):
        [alone] = host.execute(text(length))
        np.testing.assert_allclose(result["EMBEDDING"], alone["EMBEDDING"], rtol=1e-5)
        assert alone["BATCH_TOKENS"].tolist() == [[length]]


def test_several_texts_in_one_request(fake_host):
    tokens = np.int64([[1, 2, 3], [4, 5, 6]])

    [result] = fake_host("token_budget.plugin").execute({"TOKENS": tokens})

    assert result["EMBEDDING"].shape == (2, 4)
    assert result["BATCH_TOKENS"].tolist() == [[6], [6]]


def test_unknown_tokens_are_one_word(fake_host):
    host = fake_host("token_budget.plugin")

    results = host.execute([{"TOKENS": np.int64([[token]])} for token in (0, -5, 10**12)])

    assert len({result["EMBEDDING"].tobytes() for result in results}) == 1


def test_triton_keeps_to_the_budget(triton_core):
    core = triton_core()
    config = core.model_config("token_budget")
    config["dynamic_batching"]["max_queue_delay_microseconds"] = 300_000
    core.load("token_budget", config)

    futures = [core.infer_async("token_budget", text(length)) for length in LENGTHS[:5]]
    totals = [int(future.result(20)["BATCH_TOKENS"][0, 0]) for future in futures]

    assert totals == [500, 500, 420, 420, 600]
