"""The load of `larder bench` on DiskCache (Debian: python3-diskcache).

    diskcache_mix.py DIR PROCESSES SECONDS

Processes of one thread each get (90 %), set (9 %) and delete (1 %) 100 keys
with values of 1 to 500 bytes, after 1,000 operations to warm up. Prints one
JSON object like that of `larder bench --json`.
"""

import json
import multiprocessing
import os
import random
import sys
import time

import diskcache

KEYS = 100
VALUE_SIZE_MAX = 500
WARMUP = 1000


def operate(cache, rng, noise):
    """One operation; its kind, how long it took, and when it ended."""
    choice = rng.random()
    key = rng.randrange(KEYS)
    if choice < 0.90:
        begin = time.monotonic_ns()
        cache.get(key)
        end = time.monotonic_ns()
        return "get", end - begin, end
    if choice < 0.99:
        at = rng.randrange(VALUE_SIZE_MAX + 1)
        value = noise[at : at + rng.randint(1, VALUE_SIZE_MAX)]
        begin = time.monotonic_ns()
        cache.set(key, value)
        end = time.monotonic_ns()
        return "set", end - begin, end
    begin = time.monotonic_ns()
    cache.delete(key)
    end = time.monotonic_ns()
    return "delete", end - begin, end


def run(directory, index, seconds, barrier, results):
    rng = random.Random(index)
    noise = os.urandom(2 * VALUE_SIZE_MAX + 1)
    times = {"get": [], "set": [], "delete": []}
    with diskcache.Cache(directory) as cache:
        for _ in range(WARMUP):
            operate(cache, rng, noise)
        barrier.wait()
        begin = end = time.monotonic_ns()
        while end < begin + seconds * 1e9:
            kind, took, end = operate(cache, rng, noise)
            times[kind].append(took)
    results.put((begin, end, times))


def quantile(ordered, fraction):
    return ordered[round(fraction * (len(ordered) - 1))] / 1e3 if ordered else 0


def main():
    directory, processes, seconds = (
        sys.argv[1],
        int(sys.argv[2]),
        float(sys.argv[3]),
    )
    diskcache.Cache(directory).close()
    barrier = multiprocessing.Barrier(processes)
    results = multiprocessing.Queue()
    children = [
        multiprocessing.Process(
            target=run, args=(directory, i, seconds, barrier, results)
        )
        for i in range(processes)
    ]
    for child in children:
        child.start()
    answers = [results.get() for _ in children]
    for child in children:
        child.join()
    wall = (max(a[1] for a in answers) - min(a[0] for a in answers)) / 1e9
    operations = {}
    total = 0
    for kind in ("get", "set", "delete"):
        ordered = sorted(took for a in answers for took in a[2][kind])
        total += len(ordered)
        operations[kind] = {
            "count": len(ordered),
            "p50_us": quantile(ordered, 0.50),
            "p90_us": quantile(ordered, 0.90),
            "p99_us": quantile(ordered, 0.99),
            "max_us": quantile(ordered, 1.0),
        }
    print(
        json.dumps(
            {
                "operations_per_second": total / wall,
                "seconds": wall,
                "operations": operations,
            }
        )
    )


main()
