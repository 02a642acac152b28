#!/usr/bin/env python3
#
# busbench_rivals.py - one round of a Python rival, run by busbench
#
# python-queue is multiprocessing.Queue, python-pipe multiprocessing.Pipe,
# python-pool-* multiprocessing.Pool and python-executor ProcessPoolExecutor of
# concurrent.futures, used as their documentation shows.  The loads are those of
# busbench: messages are made from a sequence number, written whole, compared
# whole; between processes, made by fork.  Prints one JSON object.
#
# Nothing is left behind: with fork the semaphores have no name, and all
# processes die with their parent.

import argparse
import collections
import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import queue
import resource
import signal
import sys
import threading
import time
import warnings

PR_SET_PDEATHSIG = 1
WINDOW = 4096       # of a Queue; python-queue would otherwise grow for ever
AHEAD = 16          # duplex: messages that fit a connection's buffer
AHEAD_BYTES = 4096  # of such messages; for larger ones there is a thread
IDLE_S = 0.010      # before each wake-up
SETTLE_S = 0.050    # before idle processes are watched
MASK = (1 << 64) - 1
N_ITEMS = 4096      # different ones that an imap has

fork = multiprocessing.get_context("fork")
now_ns = time.monotonic_ns


# Channels: put(message), get() -----------------------------------------------

class QueueLane:
    def __init__(self):
        queue_ = fork.Queue(WINDOW)
        self.put, self.get = queue_.put, queue_.get


class PipeLane:
    def __init__(self):
        reader, writer = fork.Pipe(duplex=False)
        self.put, self.get = writer.send, reader.recv


LANES = {"python-queue": QueueLane, "python-pipe": PipeLane}


# Processes -------------------------------------------------------------------

def cpu_ns():
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return int(total * 1e9)


def pin(options, n):
    if options.pin:
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[n % len(cpus)]})


def start(function, *args):
    parent = os.getpid()

    def body():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            function(*args)

    process = fork.Process(target=body)
    process.start()
    return process


def join(processes):
    for process in processes:
        process.join()
        if process.exitcode != 0:
            sys.exit("busbench_rivals.py: a process ended with %s"
                     % process.exitcode)


def steps(values):
    """How often each value: up to 2047 exactly, then to a thousandth."""
    counts = {}
    for value in values:
        shift = max(0, value.bit_length() - 11)
        step = value >> shift << shift
        counts[step] = counts.get(step, 0) + 1
    return sorted(counts.items())


def quantiles(values):
    if not values:
        return None
    values = sorted(values)

    def at(part):
        return values[max(0, min(len(values) - 1,
                                 int(part * len(values) + 0.999999) - 1))]

    return {"min": values[0], "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
            "p999": at(0.999), "max": values[-1], "hist": steps(values)}


# stream and mpmc -------------------------------------------------------------

def produce(options, lane, gate, results, idx):
    pin(options, idx)
    rest = bytes(i & 255 for i in range(options.bytes - 8))
    gate.wait()
    begin, seq, key = now_ns(), 0, idx << 40
    end = begin + int(options.seconds * 1e9)
    while now_ns() < end:
        lane.put((key + seq).to_bytes(8, "little") + rest)
        seq += 1
    results.put(("sent", seq, begin, 0, 0))


def consume(options, lane, gate, results, idx):
    pin(options, idx + 1)
    rest = bytes(i & 255 for i in range(options.bytes - 8))
    last = [-1] * options.producers
    n = wrong = disorder = 0
    gate.wait()
    while True:
        message = lane.get()
        if message is None:
            break
        key = int.from_bytes(message[:8], "little")
        producer, seq = key >> 40, key & ((1 << 40) - 1)
        if message[8:] != rest or producer >= options.producers:
            wrong += 1
            continue
        if seq <= last[producer]:
            disorder += 1
        last[producer] = seq
        n += 1
    results.put(("got", n, now_ns(), wrong, disorder))


def load_queue(options):
    lane, results = LANES[options.rival](), fork.SimpleQueue()
    gate = fork.Barrier(options.producers + options.consumers)
    before = cpu_ns()
    producers = [start(produce, options, lane, gate, results, i)
                 for i in range(options.producers)]
    consumers = [start(consume, options, lane, gate, results, i)
                 for i in range(options.consumers)]
    join(producers)
    for _ in consumers:
        lane.put(None)
    join(consumers)
    rows = [results.get() for _ in producers + consumers]
    sent = sum(row[1] for row in rows if row[0] == "sent")
    got = sum(row[1] for row in rows if row[0] == "got")
    begin = min(row[2] for row in rows if row[0] == "sent")
    end = max(row[2] for row in rows if row[0] == "got")
    return {"seconds": (end - begin) / 1e9, "messages": got,
            "cpu_ns": cpu_ns() - before,
            "lost": max(0, sent - got), "dup": max(0, got - sent),
            "wrong": sum(row[3] for row in rows),
            "disorder": sum(row[4] for row in rows)}


# duplex: both ends of one Pipe() send and receive -----------------------------

class Side:
    def __init__(self, options, end, idx):
        self.end, self.own, self.other = end, idx << 40, (1 - idx) << 40
        self.rest = bytes(i & 255 for i in range(options.bytes - 8))
        self.sent = self.got = self.wrong = self.disorder = 0
        self.ended = False

    def send(self):
        key = self.own + self.sent
        self.end.send(key.to_bytes(8, "little") + self.rest)
        self.sent += 1

    def recv(self):
        message = self.end.recv()
        if message is None:
            self.ended = True
            return
        key = int.from_bytes(message[:8], "little")
        expected = self.other + self.got
        if key != expected:
            self.disorder += 1
        if message[8:] != self.rest:
            self.wrong += 1
        self.got += 1

    def send_until(self, stop):
        while now_ns() < stop:
            self.send()
        self.end.send(None)

    # In one thread: never more under way than the connection holds.
    def take_turns(self, stop):
        for _ in range(AHEAD):
            self.send()
        while now_ns() < stop and not self.ended:
            self.recv()
            self.send()
        self.end.send(None)

    def run(self, large, stop):
        sender = None
        if large:
            sender = threading.Thread(target=self.send_until, args=(stop,))
            sender.start()
        else:
            self.take_turns(stop)
        while not self.ended:
            self.recv()
        if sender:
            sender.join()


def converse(options, end, gate, results, idx):
    pin(options, idx)
    side = Side(options, end, idx)
    gate.wait()
    begin = now_ns()
    side.run(options.bytes > AHEAD_BYTES,
             begin + int(options.seconds * 1e9))
    results.put((idx, side.sent, side.got, begin, now_ns(), side.wrong,
                 side.disorder))


def load_duplex(options):
    ends, results = fork.Pipe(), fork.SimpleQueue()
    gate = fork.Barrier(2)
    before = cpu_ns()
    join([start(converse, options, ends[i], gate, results, i)
          for i in range(2)])
    rows = sorted(results.get() for _ in range(2))
    missing = [rows[1 - i][1] - rows[i][2] for i in range(2)]
    seconds = max(row[4] for row in rows) - min(row[3] for row in rows)
    return {"seconds": seconds / 1e9,
            "messages": sum(row[2] for row in rows),
            "cpu_ns": cpu_ns() - before,
            "lost": sum(max(0, n) for n in missing),
            "dup": sum(max(0, -n) for n in missing),
            "wrong": sum(row[5] for row in rows),
            "disorder": sum(row[6] for row in rows)}


# rtt and farm: (id, a, b) there, (id, a * b) back ----------------------------

def work(options, requests, answers):
    pin(options, 1)
    while True:
        request = requests.get()
        if request is None:
            return
        answers.put((request[0], request[1] * request[2] & MASK))


def operands(seq):
    return seq + 3, seq ^ 0x9e3779b97f4a7c15


def call(options, workers, inflight):
    lane = LANES[options.rival]
    requests, answers = lane(), lane()
    before = cpu_ns()
    processes = [start(work, options, requests, answers)
                 for _ in range(workers)]
    if workers == 1:
        pin(options, 0)
    outstanding, spans = {}, []
    seq = got = dup = wrong = 0
    begin = now_ns()
    stop = begin + int(options.seconds * 1e9)
    while True:
        now = now_ns()
        while now < stop and len(outstanding) < inflight:
            a, b = operands(seq)
            now = outstanding[seq] = now_ns()
            requests.put((seq, a, b))
            seq += 1
        if not outstanding:
            break
        answer, product = answers.get()
        sent = outstanding.pop(answer, None)
        if sent is None:
            dup += 1
            continue
        a, b = operands(answer)
        wrong += product != a * b & MASK
        spans.append(now_ns() - sent)
        got += 1
    seconds = (now_ns() - begin) / 1e9
    for _ in processes:
        requests.put(None)
    join(processes)
    return {"seconds": seconds, "messages": got, "cpu_ns": cpu_ns() - before,
            "lost": seq - got, "dup": dup, "wrong": wrong,
            "ns": quantiles(spans)}


def load_rtt(options):
    return call(options, 1, 1)


def load_farm(options):
    return call(options, options.workers, options.inflight)


# pool: pairs to multiply, in each way to hand them to a pool ------------------

def multiply(item):
    return item[0] * item[1] & MASK


def die_with(parent, options):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    pin(options, 1)


class Pool:
    def __init__(self, options):
        self.pool = fork.Pool(options.workers, die_with,
                              (os.getpid(), options))
        self.map, self.imap = self.pool.map, self.pool.imap
        self.imap_unordered = self.pool.imap_unordered

    def apply(self, item):
        return self.pool.apply(multiply, (item,))

    def submit(self, item):
        return self.pool.apply_async(multiply, (item,)).get

    def close(self):
        self.pool.close()
        self.pool.join()


class Executor:
    def __init__(self, options):
        self.pool = concurrent.futures.ProcessPoolExecutor(
            options.workers, fork, die_with, (os.getpid(), options))

    def apply(self, item):
        return self.pool.submit(multiply, item).result()

    def submit(self, item):
        return self.pool.submit(multiply, item).result

    def map(self, function, items, chunk):
        return list(self.pool.map(function, items, chunksize=chunk or 1))

    def close(self):
        self.pool.shutdown()


POOLS = {"python-pool-map": Pool, "python-pool-imap": Pool,
         "python-pool-apply": Pool, "python-executor": Executor}


class Count:
    def __init__(self, options):
        self.sent = self.got = self.wrong = self.disorder = 0
        self.spans = []
        self.apart = 0  # ns that went into comparing
        self.options = options
        self.start()

    def start(self):
        self.begin = now_ns()
        self.stop = self.begin + int(self.options.seconds * 1e9)

    def take(self, seq, product, since):
        a, b = operands(seq)
        self.wrong += product != a * b & MASK
        self.spans.append(now_ns() - since)
        self.got += 1


def pool_apply(options, pool, count):
    while (now := now_ns()) < count.stop:
        product = pool.apply(operands(count.sent))
        count.sent += 1
        count.take(count.got, product, now)


def pool_submit(options, pool, count):
    outstanding = collections.deque()
    while True:
        now = now_ns()
        while now < count.stop and len(outstanding) < options.inflight:
            outstanding.append((pool.submit(operands(count.sent)), now))
            count.sent += 1
            now = now_ns()
        if not outstanding:
            return
        get, since = outstanding.popleft()
        count.take(count.got, get(), since)


# The products are compared as one list with another, which does not count.
def pool_map(options, pool, count):
    items = [operands(seq) for seq in range(options.items)]
    expected = [multiply(item) for item in items]
    count.start()
    while now_ns() < count.stop:
        products = pool.map(multiply, items, options.chunk)
        count.sent += len(items)
        count.got += len(products)
        before = now_ns()
        if products != expected:
            count.wrong += 1
        count.apart += now_ns() - before


# It pulls as many as a pipe holds.  Unordered products say no number, so they
# are compared as sums.
def pool_imap(options, pool, count):
    ordered = options.method == "imap"
    items = [operands(seq) for seq in range(N_ITEMS)]
    expected = [multiply(item) for item in items]
    count.start()

    def pull():
        while now_ns() < count.stop:
            count.sent += 1
            yield items[(count.sent - 1) % N_ITEMS]

    results = (pool.imap if ordered else pool.imap_unordered)(
        multiply, pull(), options.chunk or 1)
    total, got = 0, 0
    for product in results:
        if ordered and product != expected[got % N_ITEMS]:
            count.wrong += 1
        total += product
        got += 1
    count.got = got
    rounds, rest = divmod(count.sent, N_ITEMS)
    if total != rounds * sum(expected) + sum(expected[:rest]):
        count.wrong += 1


def load_pool(options):
    before = cpu_ns()
    pool = POOLS[options.rival](options)
    for _ in range(options.workers):
        pool.apply(operands(0))
    pin(options, 0)
    count = Count(options)
    {"apply": pool_apply, "submit": pool_submit, "map": pool_map,
     "imap": pool_imap, "imap_unordered": pool_imap}[options.method](
         options, pool, count)
    seconds = (now_ns() - count.begin - count.apart) / 1e9
    pool.close()
    return {"seconds": seconds, "messages": count.got,
            "cpu_ns": cpu_ns() - before,
            "lost": max(0, count.sent - count.got),
            "dup": max(0, count.got - count.sent), "wrong": count.wrong,
            "disorder": count.disorder, "ns": quantiles(count.spans)}


# wake ------------------------------------------------------------------------

def receive(options, lane, results):
    pin(options, 1)
    spans = []
    while True:
        message = lane.get()
        if message is None:
            break
        spans.append(now_ns() - message[1])
    results.put(spans)


def load_wake(options):
    lane, results = LANES[options.rival](), fork.SimpleQueue()
    before = cpu_ns()
    receiver = start(receive, options, lane, results)
    pin(options, 0)
    begin, sent = now_ns(), 0
    while now_ns() < begin + options.seconds * 1e9:
        time.sleep(IDLE_S)
        lane.put((sent, now_ns()))
        sent += 1
    seconds = (now_ns() - begin) / 1e9
    lane.put(None)
    spans = results.get()
    join([receiver])
    return {"seconds": seconds, "messages": len(spans),
            "cpu_ns": cpu_ns() - before,
            "lost": max(0, sent - len(spans)),
            "dup": max(0, len(spans) - sent), "ns": quantiles(spans)}


# idle ------------------------------------------------------------------------

def used_ns(pid):
    with open("/proc/%d/schedstat" % pid) as stat:
        return int(stat.read().split()[0])


def load_idle(options):
    lane = LANES[options.rival]()
    readers = [start(lane.get) for _ in range(max(1, options.workers))]
    time.sleep(SETTLE_S)
    before = sum(used_ns(reader.pid) for reader in readers)
    begin = now_ns()
    time.sleep(options.seconds)
    used = sum(used_ns(reader.pid) for reader in readers) - before
    span = now_ns() - begin
    for _ in readers:
        lane.put(None)
    join(readers)
    return {"seconds": span / 1e9, "messages": 0, "cpu_ns": used,
            "cpu_percent": 100.0 * used / span / len(readers)}


def parse():
    parser = argparse.ArgumentParser(
        description="One round of a Python rival; used by busbench.")
    parser.add_argument("--rival", choices=sorted(LANES | POOLS),
                        required=True)
    parser.add_argument("--load", required=True, choices=[
        "rtt", "stream", "duplex", "mpmc", "farm", "pool", "wake", "idle"])
    parser.add_argument("--bytes", type=int, default=8)
    parser.add_argument("--producers", type=int, default=1)
    parser.add_argument("--consumers", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--inflight", type=int, default=1024)
    parser.add_argument("--method", default="map", choices=[
        "apply", "submit", "map", "imap", "imap_unordered"])
    parser.add_argument("--chunk", type=int, help="0: the default")
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--pin", action="store_true")
    options = parser.parse_args()
    options.chunk = options.chunk or None
    return options


def main():
    loads = {"rtt": load_rtt, "stream": load_queue, "duplex": load_duplex,
             "mpmc": load_queue, "farm": load_farm, "pool": load_pool,
             "wake": load_wake, "idle": load_idle}
    options = parse()
    # Of forks beside threads; the standard error is part of our output.
    warnings.simplefilter("ignore", DeprecationWarning)
    print(json.dumps(loads[options.load](options)))


libc = ctypes.CDLL(None)
if __name__ == "__main__":
    main()
