#!/usr/bin/env python3
"""qmp.py SOCKET COMMAND [ARGUMENTS] ...: runs QMP commands and prints their answers, one a line, with keys sorted; events that came
before an answer stand in front of it. "wait:EVENT" waits for an event. Package and micro version are left out, and sizes on disk.
What comes back must be what the schema says."""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import qmp_schema  # noqa: E402


def plain(v):
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items() if k not in ("timestamp", "actual-size", "package", "micro")}
    return [plain(x) for x in v] if isinstance(v, list) else v


def connect(path):
    end = time.monotonic() + 20
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            s.settimeout(30)
            return s, s.makefile("r") # one for both would forget what came together with an answer
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"nobody listens at {path}")
            time.sleep(0.02)


def get(f, name, want, schema=None, show=True):
    while True:
        line = f.readline()
        if not line:
            sys.exit("the connection ended")
        m = json.loads(line)
        if schema:
            schema.check(name, m)
        if show or "event" in m:
            print(json.dumps(plain(m), sort_keys=True), flush=True)
        if want(m):
            return m


def main():
    s, f = connect(sys.argv[1])
    json.loads(f.readline())["QMP"]
    schema = None
    words = ["qmp_capabilities"] + sys.argv[2:]
    while words:
        name = words.pop(0)
        if name.startswith("wait:"):
            get(f, name, lambda m: m.get("event") == name[5:], schema)
            continue
        m = {"execute": name}
        if words and words[0].startswith("{"):
            m["arguments"] = json.loads(words.pop(0))
        s.sendall((json.dumps(m) + "\n").encode())
        get(f, name, lambda m: "return" in m or "error" in m, schema)
        if name == "qmp_capabilities":
            s.sendall(b'{"execute": "query-qmp-schema"}')
            schema = qmp_schema.Schema(get(f, name, lambda m: "return" in m, show=False)["return"])


main()
