import logging
import threading

from oss_wsgi.local.serving.server import RequestThreads


class Meeting:
    """A request that ends when all have begun."""

    def __init__(self, others):
        self._others = others
        self.met = threading.Event()

    def service(self):
        self._others.wait(10)
        self.met.set()


def test_requests_that_wait_for_each_other_all_get_a_thread(caplog):
    with caplog.at_level(logging.WARNING):
        threads = RequestThreads()
        barrier = threading.Barrier(100)
        requests = [Meeting(barrier) for _ in range(100)]
        for request in requests:
            threads.add_task(request)
        assert all(request.met.wait(10) for request in requests)
        threads.shutdown()
    assert not caplog.records


def test_one_request_after_the_other_needs_few_threads():
    threads = RequestThreads()
    for _ in range(100):
        request = Meeting(threading.Barrier(1))
        threads.add_task(request)
        assert request.met.wait(10)
    assert len(threads.threads) < 10
    threads.shutdown()


def test_after_the_end_no_thread_is_started():
    threads = RequestThreads()
    threads.shutdown()
    threads.add_task(Meeting(threading.Barrier(1)))
    assert not threads.threads
