#!/usr/bin/env python3
"""Our QMP schema beside QEMU's: of each command and event that both have, the members' names and types. What differs is in the
table below, with the reason, and nothing else may. Without QEMU only our own side is looked at."""
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

# Patterns of paths, and why.
KNOWN = json.load(open(os.path.join(os.path.dirname(__file__), "schema_known.json")))


def ask(words, path):
    p = subprocess.Popen(words)
    try:
        q = vm.QMP(path)
        types = q.schema.types
        q.cmd("quit")
    finally:
        p.wait(60)
    return types


def shape(types, name, seen):
    """A type without its names."""
    t = types[name]
    kind = t["meta-type"]
    if kind == "builtin":
        return t["json-type"]
    if name in seen:
        return "again"
    seen = seen | {name}
    if kind == "array":
        return [shape(types, t["element-type"], seen)]
    if kind == "enum":
        return {"enum": set(t["values"])}
    if kind == "alternate":
        return {"one of": [shape(types, m["type"], seen) for m in t["members"]]}
    out = {m["name"]: (shape(types, m["type"], seen), "default" in m) for m in t["members"]}
    out[""] = {v["case"] for v in t.get("variants", [])}
    for v in t.get("variants", []):
        for n, m in shape(types, v["type"], seen).items():
            if n:
                out[f"{v['case']}/{n}"] = m
    return out


def differ(ours, theirs, path, out, taken):
    """`taken`: arguments, where we may take more than we are asked for; else results, where we may say less."""
    if "again" in (ours, theirs):
        return
    if isinstance(ours, list) and isinstance(theirs, list):
        differ(ours[0], theirs[0], path + "[]", out, taken)
        return
    if type(ours) is not type(theirs):
        out.append((path, f"{word(ours)}, theirs {word(theirs)}"))
    elif isinstance(ours, str):
        if ours != theirs:
            out.append((path, f"{ours}, theirs {theirs}"))
    elif "enum" in ours and "enum" in theirs:
        more, less = ours["enum"] - theirs["enum"], theirs["enum"] - ours["enum"]
        if more or (less and taken):
            out.append((path, f"values: {' '.join('+' + x for x in sorted(more))} {' '.join('-' + x for x in sorted(less))}"))
    elif "one of" in ours or "one of" in theirs:
        if len(ours.get("one of", "")) != len(theirs.get("one of", "")):
            out.append((path, "another alternate"))
    else:
        members(ours, theirs, path, out, taken)


def word(x):
    return x if isinstance(x, str) else "list" if isinstance(x, list) else next(iter(x), "object") if "enum" in x or "one of" in x else "object"


def members(ours, theirs, path, out, taken):
    for n in sorted(ours.keys() | theirs.keys()):
        at = f"{path}.{n}"
        if not n or ("/" in n and n.split("/")[0] not in ours[""] & theirs[""]):
            continue # the tag tells already what one of us does not have
        if n not in theirs:
            out.append((at, "ours alone"))
        elif n not in ours:
            if taken or not theirs[n][1]: # what may be absent we need not say
                out.append((at, "theirs alone"))
        else:
            if ours[n][1] != theirs[n][1] and (taken or ours[n][1]):
                out.append((at, "optional" if ours[n][1] else "not optional"))
            differ(ours[n][0], theirs[n][0], at, out, taken)


def compare(ours, theirs):
    out = []
    for name in sorted(ours):
        a, b = ours[name], theirs.get(name)
        if a["meta-type"] not in ("command", "event") or name == "blockdev-reopen": # that has blockdev-add's
            continue
        if not b:
            out.append((name, "ours alone"))
            continue
        event = a["meta-type"] == "event"
        for what in ("arg-type", "ret-type"):
            if what in a:
                differ(shape(ours, a[what], frozenset()), shape(theirs, b[what], frozenset()), name + (" ->" if what == "ret-type" else ""),
                       out, what == "arg-type" and not event)
    return out


def known(path, table):
    return any(fnmatch.fnmatchcase(path, k) for k in table)


def main():
    work = tempfile.mkdtemp(prefix="viv-schema-")
    compared = 0
    bad, used = [], set()
    try:
        for who, ours, theirs in programs(work):
            a = ask(ours, os.path.join(work, "ours"))
            if not shutil.which(theirs[0]):
                print(f"{theirs[0]} is not there to compare with")
                continue
            diffs = compare(a, ask(theirs, os.path.join(work, "theirs")))
            for path, what in diffs:
                if not known(path, KNOWN):
                    bad.append(f"{who}: {path}: {what}")
            used |= {k for k in KNOWN for p, _ in diffs if known(p, [k])}
            compared += 1
        if compared == 2:
            bad += [f"{k}: is no difference any more" for k in KNOWN if k not in used]
    finally:
        shutil.rmtree(work)
    if bad:
        print("\n".join(bad))
        sys.exit(1)
    print("ok")


def programs(work):
    def vm_words(program, name):
        return [program, "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-S", "-qmp", f"unix:{work}/{name},server=on,wait=off"]

    def daemon_words(program, name):
        return [program, "--chardev", f"socket,id=c,path={work}/{name},server=on,wait=off", "--monitor", "c"]
    yield "machine", vm_words(vm.emulator()[0], "ours"), vm_words("qemu-system-x86_64", "theirs")
    yield "daemon", daemon_words(vm.tool("viv-storaged"), "ours"), daemon_words("qemu-storage-daemon", "theirs")


main()
