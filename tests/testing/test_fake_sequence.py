"""Sequences on the fake host, as in the real core (tests/runtime/test_states.py)."""

import numpy as np
import pytest

from triton_backend_sdk import RequestFlag, Response, hookimpl
from triton_backend_sdk.errors import InternalError, InvalidArgError
from triton_backend_sdk.testing import FakeHost

CONFIG = """
input { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] }
sequence_batching { state { input_name: "SUM_IN" output_name: "SUM_OUT" data_type: TYPE_FP32 dims: [ 1 ] } }
"""
X = {"IN": np.float32([2])}


class Sum:
    @hookimpl
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        total = request["SUM_IN"].numpy() + request["IN"].numpy()
        case = request.parameters.get("case")
        if case == "shape":
            return Response({"OUT": total}, states={"SUM_OUT": np.zeros(2, np.float32)})
        if case == "name":
            return Response({"OUT": total}, states={"SUM": total})
        if case == "view":
            request.state("SUM_OUT", [1]).numpy()[:] = total
            return Response({"OUT": total})
        return Response({"OUT": total}, states={"SUM_OUT": total})


def test_states_are_kept_by_sequence():
    with FakeHost(Sum, CONFIG) as host:

        def ask(corrid, **options):
            [outputs] = host.execute(host.request(X, correlation_id=corrid, **options))
            return outputs["OUT"].tolist()

        assert ask(1, sequence_start=True) == [2]
        assert ask("b", sequence_start=True) == [2]
        assert ask(1, parameters={"case": "view"}) == [4]
        assert host.states(1)["SUM_OUT"].tolist() == [4]
        assert host.states("b")["SUM_OUT"].tolist() == [2]
        assert ask(1, states={"SUM_IN": np.float32([100])}, sequence_end=True) == [102]
        assert ask(1, sequence_start=True) == [2]
        assert int(host.request(X, correlation_id=1, sequence_start=True, sequence_end=True).flags) == 3


def test_what_is_wrong_has_the_words_of_the_server():
    with FakeHost(Sum, CONFIG) as host:
        for case, message in {
            "shape": r"state 'SUM_OUT' has shape \[2\], but the config says \[1\]",
            "name": "no state 'SUM'; it has the output_name 'SUM_OUT'",
        }.items():
            with pytest.raises(InternalError, match=message):
                host.execute(host.request(X, correlation_id=1, parameters={"case": case}))
        assert host.states(1)["SUM_OUT"].tolist() == [0]
        with pytest.raises(InvalidArgError, match="'NO'; the config's are: SUM_IN"):
            host.request(X, states={"NO": np.float32([1])})


ITERATIVE = CONFIG.replace("sequence_batching {", "sequence_batching { iterative_sequence: true")


class Count:
    @hookimpl
    def execute(self, requests):
        return [self.step(request) for request in requests]

    def step(self, request):
        first = request.flags & RequestFlag.SEQUENCE_START
        left = (request["IN"] if first else request["SUM_IN"]).numpy()
        if left[0] > 1:
            return Response(states={"SUM_OUT": left - 1}, reschedule=True)
        return Response({"OUT": left})


def test_a_rescheduled_request_finds_its_state_and_starts_once():
    with FakeHost(Count, ITERATIVE) as host:
        assert host.execute({"IN": np.float32([5])})[0]["OUT"].tolist() == [1]
        with pytest.raises(InternalError, match="SEQUENCE_END"):
            host.execute(host.request(X, correlation_id=1, sequence_start=True, sequence_end=True))
