"""What programs do with kazoo, on a server that is empty.

usage: kazoo_basics.py SERVER

Prints "done" if all was as it should be.
"""

import sys
from threading import Event

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    LockTimeout,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
)
from kazoo.security import make_digest_acl

LIMIT = 20


def main(server):
    one, two = KazooClient(hosts=server), KazooClient(hosts=server)
    for client in (one, two):
        client.start()
    znodes(one)
    watches(one, two)
    locks(one, two)
    identities(one, two)
    ephemerals(one, two)
    two.stop()
    print("done")


def znodes(client):
    assert client.create("/app/a", b"1", makepath=True) == "/app/a"
    path, stat = client.create("/app/b", b"22", include_data=True)
    assert (path, stat.dataLength, stat.version) == ("/app/b", 2, 0)
    assert client.get("/app/a")[0] == b"1"
    assert client.set("/app/a", b"3").version == 1
    assert client.exists("/app/a").mzxid > client.exists("/app/b").czxid
    assert client.exists("/nowhere") is None
    children, stat = client.get_children("/app", include_data=True)
    assert (sorted(children), stat.numChildren) == (["a", "b"], 2)
    assert client.create("/app/n-", sequence=True) == "/app/n-0000000002"
    fails(NodeExistsError, client.create, "/app/a")
    fails(BadVersionError, client.set, "/app/a", b"", 7)
    fails(NotEmptyError, client.delete, "/app")
    fails(NoNodeError, client.get, "/nowhere")
    assert client.sync("/app") == "/app"
    client.delete("/app", recursive=True)
    assert client.get_children("/") == ["zookeeper"]


def watches(one, two):
    told = {}

    def watch(name):
        told[name] = Event()
        return lambda event: (told.update({name + "!": event}), told[name].set())

    one.exists("/new", watch=watch("created"))
    two.create("/new")
    one.get("/new", watch=watch("changed"))
    one.get_children("/new", watch=watch("children"))
    two.set("/new", b"x")
    two.create("/new/child")
    one.get_children("/new", watch=watch("deleted"))
    two.delete("/new", recursive=True)
    kinds = {"created": "CREATED", "changed": "CHANGED", "children": "CHILD"}
    for name, kind in kinds.items():
        assert told[name].wait(LIMIT), name
        assert (told[name + "!"].type, told[name + "!"].path) == (kind, "/new")
    # The child goes first.
    assert told["deleted"].wait(LIMIT)
    assert told["deleted!"].type == "CHILD"


def locks(one, two):
    first, second = one.Lock("/locks", "first"), two.Lock("/locks", "second")
    assert first.acquire(timeout=LIMIT)
    assert not second.acquire(blocking=False)
    fails(LockTimeout, second.acquire, timeout=0.3)
    asked, granted = second.contenders, Event()
    waiting = two.handler.spawn(lambda: second.acquire(timeout=LIMIT) and granted.set())
    while asked() != ["first", "second"]:
        waiting.join(0.01)
    assert not granted.is_set()
    first.release()
    assert granted.wait(LIMIT)
    waiting.join(LIMIT)
    second.release()
    assert one.get_children("/locks") == []


def identities(one, two):
    acl = [make_digest_acl("user", "secret", all=True)]
    one.create("/private", b"x", acl=acl)
    fails(NoAuthError, two.get, "/private")
    two.add_auth("digest", "user:secret")
    assert two.get("/private")[0] == b"x"


def ephemerals(one, two):
    one.create("/mine", ephemeral=True)
    assert two.exists("/mine").owner_session_id == one.client_id[0]
    one.stop()
    assert two.exists("/mine") is None


def fails(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


main(*sys.argv[1:])
