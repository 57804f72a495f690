"""Prints nanoseconds per increment of a multiprocessing.Value under its lock.

Arguments: processes, increments of each. Only the loops are timed: from the moment the first process starts to count
until the last one has finished.
"""

import multiprocessing
import sys
import time


def count(value, barrier, times, index, increments):
    barrier.wait()
    started = time.monotonic_ns()
    for _ in range(increments):
        with value.get_lock():
            value.value += 1
    times[2 * index] = started
    times[2 * index + 1] = time.monotonic_ns()


def main():
    processes, increments = int(sys.argv[1]), int(sys.argv[2])
    context = multiprocessing.get_context("fork")
    value = context.Value("i", 0)
    barrier = context.Barrier(processes)
    times = context.Array("q", 2 * processes, lock=False)
    workers = [
        context.Process(target=count, args=(value, barrier, times, index, increments))
        for index in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if value.value != processes * increments:
        sys.exit(f"expected {processes * increments}, found {value.value}")
    print((max(times) - min(times)) / value.value)


if __name__ == "__main__":
    main()
