"""A contender for a lock by way of kazoo, as a process of its own.

usage: kazoo_contender.py SERVER LOCK COUNTER ROUNDS [PATTERN...]

Prints "ready", waits for a line, and takes the lock ROUNDS times. Each time it
adds one to COUNTER, a node that only the lock protects, and prints what it
found there and the name of its claim. The patterns are those of names that
count as contenders beside kazoo's own.
"""

import sys

from kazoo.client import KazooClient

LIMIT = 60


def main(server, path, counter, rounds, *patterns):
    client = KazooClient(hosts=server)
    client.start()
    lock = client.Lock(path, "kazoo", extra_lock_patterns=patterns)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(rounds)):
        lock.acquire(timeout=LIMIT)
        found = int(client.get(counter)[0])
        client.set(counter, str(found + 1).encode())
        print(found, lock.node)
        lock.release()
    client.stop()
    client.close()


main(*sys.argv[1:])
