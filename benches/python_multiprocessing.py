"""Prints nanoseconds per operation of multiprocessing's Value, Queue, Pipe, Manager().dict(), Pool or Process.

Arguments: what, processes, operations.
- value: each of the processes increments one Value under its lock, so many times. Only the loops are timed: from the
  moment the first process starts to count until the last one has finished.
- queue: one process puts ints into a Queue of 1024 places and another gets them, from the first to the last.
- pipe: an int goes through a Pipe to another process and comes back.
- map: each of the processes sets the same thousand keys of a Manager().dict() to ints, so many times. Timed as
  value.
- pool_task, pool_map: a Pool of so many processes squares so many ints by map, one at a time or in chunks of the usual
  size; it has started before.
- fork, spawn: a Process that does nothing is started and joined, so many times, by that start method.
"""

import array
import multiprocessing
import sys
import time

CONTEXT = multiprocessing.get_context("fork")


def count(value, barrier, times, index, increments):
    barrier.wait()
    started = time.monotonic_ns()
    for _ in range(increments):
        with value.get_lock():
            value.value += 1
    times[2 * index] = started
    times[2 * index + 1] = time.monotonic_ns()


def value(processes, increments):
    value = CONTEXT.Value("i", 0)
    barrier = CONTEXT.Barrier(processes)
    times = CONTEXT.Array("q", 2 * processes, lock=False)
    workers = [
        CONTEXT.Process(target=count, args=(value, barrier, times, index, increments))
        for index in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if value.value != processes * increments:
        sys.exit(f"expected {processes * increments}, found {value.value}")
    return (max(times) - min(times)) / value.value


def put(queue, items):
    for item in range(items):
        queue.put(item)


def queue(_processes, items):
    queue = CONTEXT.Queue(1024)
    producer = CONTEXT.Process(target=put, args=(queue, items))
    producer.start()
    total = queue.get()
    started = time.monotonic_ns()
    for _ in range(items - 1):
        total += queue.get()
    elapsed = time.monotonic_ns() - started
    producer.join()
    if total != items * (items - 1) // 2:
        sys.exit(f"the sum of {items} ints came as {total}")
    return elapsed / (items - 1)


def echo(connection):
    while (item := connection.recv()) is not None:
        connection.send(item)


def pipe(_processes, trips):
    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=echo, args=(theirs,))
    child.start()
    ours.send(0)
    ours.recv()  # the child has started
    started = time.monotonic_ns()
    for number in range(trips):
        ours.send(number)
        if ours.recv() != number:
            sys.exit(f"{number} did not come back")
    elapsed = time.monotonic_ns() - started
    ours.send(None)
    child.join()
    return elapsed / trips


def set_keys(entries, barrier, times, index, sets):
    barrier.wait()
    started = time.monotonic_ns()
    for number in range(sets):
        entries[number % 1000] = number
    times[2 * index] = started
    times[2 * index + 1] = time.monotonic_ns()


def map_(processes, sets):
    manager = CONTEXT.Manager()
    entries = manager.dict()
    barrier = CONTEXT.Barrier(processes)
    times = CONTEXT.Array("q", 2 * processes, lock=False)
    workers = [
        CONTEXT.Process(target=set_keys, args=(entries, barrier, times, index, sets))
        for index in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    expected = {number % 1000: number for number in range(sets)}
    if entries.copy() != expected:
        sys.exit(f"{entries.copy()} is not what was set")
    return (max(times) - min(times)) / (processes * sets)


def square(number):
    return number * number


def pool(processes, items, chunksize):
    with CONTEXT.Pool(processes) as pool:
        pool.map(square, range(100), chunksize=1)
        started = time.monotonic_ns()
        squares = pool.map(square, range(items), chunksize=chunksize)
        elapsed = time.monotonic_ns() - started
    if squares != [number * number for number in range(items)]:
        sys.exit("the squares are wrong")
    return elapsed / items


def pool_task(processes, items):
    return pool(processes, items, 1)


def pool_map(processes, items):
    return pool(processes, items, None)


def same(data):
    return data


def large(data, trips):
    with CONTEXT.Pool(2) as pool:
        pool.map(square, range(100), chunksize=1)
        elapsed = 0
        for _ in range(trips):
            started = time.monotonic_ns()
            back = pool.apply(same, (data,))
            elapsed += time.monotonic_ns() - started
            if back != data:
                sys.exit("it comes back otherwise")
    return elapsed / trips


def pool_bytes(_processes, trips):
    return large(bytes(range(256)) * (100 << 12), trips)


def pool_floats(_processes, trips):
    return large(array.array("d", range(10_000_000)), trips)


def nothing():
    pass


def start(method, starts):
    context = multiprocessing.get_context(method)
    started = time.monotonic_ns()
    for _ in range(starts):
        child = context.Process(target=nothing)
        child.start()
        child.join()
        if child.exitcode != 0:
            sys.exit(f"a child exited with {child.exitcode}")
    return (time.monotonic_ns() - started) / starts


def fork(_processes, starts):
    return start("fork", starts)


def spawn(_processes, starts):
    return start("spawn", starts)


if __name__ == "__main__":
    kinds = [value, queue, pipe, map_, pool_task, pool_map, pool_bytes, pool_floats, fork, spawn]
    what = {kind.__name__.rstrip("_"): kind for kind in kinds}[sys.argv[1]]
    print(what(int(sys.argv[2]), int(sys.argv[3])))
