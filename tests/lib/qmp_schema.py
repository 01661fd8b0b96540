"""Replies, events and arguments against what query-qmp-schema says of them."""


class Wrong(Exception):
    pass


JSON = {"string": str, "int": int, "number": (int, float), "boolean": bool, "null": type(None), "object": dict, "array": list}


class Schema:
    def __init__(self, infos):
        self.types = {t["name"]: t for t in infos}
        if len(self.types) != len(infos):
            raise Wrong("a name stands twice")

    def commands(self):
        return {n for n, t in self.types.items() if t["meta-type"] == "command"}

    def events(self):
        return {n for n, t in self.types.items() if t["meta-type"] == "event"}

    def check(self, command, msg):
        """One line from the peer, which may be the answer to `command`."""
        if "event" in msg:
            t = self.types.get(msg["event"])
            if not t or t["meta-type"] != "event":
                raise Wrong(f"the schema knows no event {msg['event']}")
            self.value(t["arg-type"], msg.get("data", {}), msg["event"])
        elif "return" in msg:
            t = self.types.get(command)
            if not t or t["meta-type"] != "command":
                raise Wrong(f"the schema knows no command {command}")
            self.value(t["ret-type"], msg["return"], command)

    def arguments(self, command, args):
        self.value(self.types[command]["arg-type"], args, command)

    def value(self, name, v, where):
        t = self.types[name]
        kind = t["meta-type"]
        if kind == "builtin":
            self.builtin(t["json-type"], v, where)
        elif kind == "enum":
            if v not in t["values"]:
                raise Wrong(f"{where}: {v!r} is none of {t['values']}")
        elif kind == "array":
            if not isinstance(v, list):
                raise Wrong(f"{where}: {v!r} is no list")
            for i, x in enumerate(v):
                self.value(t["element-type"], x, f"{where}[{i}]")
        elif kind == "object":
            self.object(t, v, where)
        elif kind == "alternate":
            self.alternate(t, v, where)
        else:
            raise Wrong(f"{where}: {name} is a {kind}")

    @staticmethod
    def builtin(want, v, where):
        if want == "value":
            return
        if not isinstance(v, JSON[want]) or (isinstance(v, bool) and want != "boolean"):
            raise Wrong(f"{where}: {v!r} is not of type {want}")

    def members(self, t, v):
        """All that an object with this tag may have."""
        out = {m["name"]: m for m in t["members"]}
        if "tag" in t:
            cases = [x["type"] for x in t["variants"] if x["case"] == v.get(t["tag"])]
            for c in cases:
                out.update(self.members(self.types[c], v))
        return out

    def object(self, t, v, where):
        if not isinstance(v, dict):
            raise Wrong(f"{where}: {v!r} is no object")
        members = self.members(t, v)
        for name, m in members.items():
            if name in v:
                self.value(m["type"], v[name], f"{where}.{name}")
            elif "default" not in m:
                raise Wrong(f"{where}: '{name}' is missing in {v!r}")
        for name in v:
            if name not in members:
                raise Wrong(f"{where}: '{name}' is in no type: {v!r}")

    def alternate(self, t, v, where):
        why = []
        for m in t["members"]:
            try:
                self.value(m["type"], v, where)
                return
            except Wrong as e:
                why.append(str(e))
        raise Wrong("; ".join(why))
