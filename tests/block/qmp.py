#!/usr/bin/env python3
"""qmp.py SOCKET COMMAND [ARGUMENTS] ...: runs QMP commands and prints their answers, one a line, with keys sorted; events that came
before an answer stand in front of it. "wait:EVENT" waits for an event. Package and micro version are left out, and sizes on disk."""
import json
import socket
import sys
import time


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


def get(f, want):
    while True:
        line = f.readline()
        if not line:
            sys.exit("the connection ended")
        m = json.loads(line)
        print(json.dumps(plain(m), sort_keys=True), flush=True)
        if want(m):
            return


def main():
    s, f = connect(sys.argv[1])
    json.loads(f.readline())["QMP"]
    words = ["qmp_capabilities"] + sys.argv[2:]
    while words:
        name = words.pop(0)
        if name.startswith("wait:"):
            get(f, lambda m: m.get("event") == name[5:])
            continue
        m = {"execute": name}
        if words and words[0].startswith("{"):
            m["arguments"] = json.loads(words.pop(0))
        s.sendall((json.dumps(m) + "\n").encode())
        get(f, lambda m: "return" in m or "error" in m)


main()
