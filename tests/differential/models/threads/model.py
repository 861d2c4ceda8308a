import queue
import threading

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A worker thread of its own does the work; its log and its metric are the model's."""

    def initialize(self, args):
        family = pb_utils.MetricFamily("diffthreads", "text", pb_utils.MetricFamily.COUNTER)
        self.metric = family.Metric(labels={"of": "thread"})
        self.family = family
        self.work = queue.Queue()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while (item := self.work.get()) is not None:
            text, answer = item
            pb_utils.Logger.log_info(f"diff-thread: {text}")
            self.metric.increment(1)
            answer.put(
                pb_utils.InferenceResponse(
                    [pb_utils.Tensor("OUT", np.array([text.upper(), pb_utils.get_model_dir()], object))]
                )
            )

    def execute(self, requests):
        answers = []
        for request in requests:
            answers.append(queue.Queue())
            self.work.put((request.inputs()[0].as_numpy()[0].decode(), answers[-1]))
        return [answer.get(timeout=10) for answer in answers]

    def finalize(self):
        self.work.put(None)
        self.thread.join(10)
