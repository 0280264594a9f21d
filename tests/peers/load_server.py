"""Sends 10,000 requests to a server of ours, bad bodies and cut connections among them, and prints its memory.

    mpo-train serve crates/mpo-train/miniature/model --device flex --port 8000 --name m &
    python tests/peers/load_server.py 8000 $!
"""

import json
import os
import random
import re
import socket
import sys
import threading
from collections import Counter

port, process = int(sys.argv[1]), int(sys.argv[2])
ROUNDS, CLIENTS, REQUESTS = 5, 20, 100
PROMPTS = ["Tea?", "How do I cook rice?", "Ninapikaje wali?"]
seen = Counter()


def question(**more):
    messages = [{"role": "user", "content": random.choice(PROMPTS)}]
    asked = {"model": "m", "temperature": random.choice([0, 0.7]), "max_tokens": random.randint(1, 12)}
    return json.dumps({**asked, "messages": messages, **more}).encode()


def said(text, role="user"):
    return question(messages=[{"role": role, "content": text}])


BAD = [
    lambda: b"", lambda: b"{", lambda: b"[]", lambda: b"[" * 5000, lambda: b"\xff" * 100, lambda: b'{"model": "m"}',
    lambda: b'{"model": "m", "messages": [], "temperature": NaN}', lambda: question(messages=[]),
    lambda: question(temperature="hot"), lambda: question(max_tokens=1e30), lambda: question(model="x"),
    lambda: question(stop=[""]), lambda: said("a", role="tool"), lambda: said("a " * 2000), lambda: said("x" * 1_100_000),
]  # fmt: skip


def connection(body, length=None):
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    stream = socket.create_connection(("127.0.0.1", port), timeout=120)
    try:
        stream.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body)
    except OSError:
        pass  # A body that is too large is not read to its end.
    return stream


def reply(stream):
    pieces = []
    try:
        while piece := stream.recv(65536):
            pieces.append(piece)
    except OSError:
        pass
    return b"".join(pieces)


def status(received):
    return received.split(b" ", 2)[1].decode() if received else "none"


def request():
    kind = random.random()
    if kind < 0.6:
        streams = random.random() < 0.5
        with connection(question(stream=streams, logprobs=random.random() < 0.3)) as stream:
            received = reply(stream)
        assert (b"data: [DONE]" if streams else b'"finish_reason"') in received, received
        return f"good {status(received)}"
    if kind < 0.85:
        with connection(random.choice(BAD)()) as stream:
            return f"bad {status(reply(stream))}"
    if kind < 0.9:
        connection(question(), length=5000).close()
        return "cut in the body"
    with connection(question(stream=random.random() < 0.5, max_tokens=200, temperature=50)) as stream:
        if random.random() < 0.5:
            stream.recv(300)
    return "cut in the answer"


def client():
    for _ in range(REQUESTS):
        try:
            seen[request()] += 1
        except Exception as error:
            seen[f"failed: {error!r:.200}"] += 1


def state():
    with open(f"/proc/{process}/status") as file:
        memory = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) // 1024
    files, threads = (len(os.listdir(f"/proc/{process}/{part}")) for part in ("fd", "task"))
    return f"{memory} MiB, {files} files, {threads} threads"


def main():
    print(f"before: {state()}", flush=True)
    for number in range(ROUNDS):
        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        print(f"after {(number + 1) * CLIENTS * REQUESTS}: {state()}", flush=True)
    print(dict(sorted(seen.items())))
    assert not any(kind.startswith("failed") for kind in seen)


main()
