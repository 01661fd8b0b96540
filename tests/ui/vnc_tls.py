#!/usr/bin/env python3
"""VNC under TLS: VeNCrypt with certificates and without (our own client, and TigerVNC's where it is), wss for browsers, what monitors tell,
who is refused, and clients that talk nonsense, stop or leave in the middle of TLS's handshake."""
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import rfb  # noqa: E402
import vga_guest  # noqa: E402
import vm  # noqa: E402
from vnc import Machine, hmp, must, refused  # noqa: E402

AUTHORITY = 'cn = "%s"\nca\ncert_signing_key\nexpiration_days = 9\n'
PERSON = 'cn = "%s"\norganization = "Test"\nsigning_key\nexpiration_days = 9\ntls_www_client\n'
SERVER = 'cn = "localhost"\ndns_name = "localhost"\nip_address = "127.0.0.1"\nsigning_key\nexpiration_days = 9\ntls_www_server\n'


def certificate(folder, name, template, ca=None):
    """FOLDER/NAME-{cert,key}.pem, signed by the CA of a folder or by itself."""
    os.makedirs(folder, exist_ok=True)
    key, out, text = (f"{folder}/{name}-{what}" for what in ("key.pem", "cert.pem", "template"))
    with open(text, "w") as f:
        f.write(template)
    sign = (["--generate-certificate", "--load-ca-certificate", f"{ca}/ca-cert.pem", "--load-ca-privkey", f"{ca}/ca-key.pem"] if ca
            else ["--generate-self-signed"])
    for args in (["--generate-privkey", "--key-type", "ecdsa", "--outfile", key], sign + ["--load-privkey", key, "--template", text, "--outfile", out]):
        subprocess.run(["certtool", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def context(pki, own=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(f"{pki}/ca-cert.pem")
    if own:
        c.load_cert_chain(f"{own}/client-cert.pem", f"{own}/client-key.pem")
    return c


def anonymous():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    c.set_ciphers("aNULL:@SECLEVEL=0")
    return c


def creds(kind, folder=None, **more):
    return ["-object", f"tls-creds-{kind},id=t,endpoint=server" + (f",dir={folder}" if folder else "") +
            "".join(f",{k.replace('_', '-')}={v}" for k, v in more.items())]


def fails(fn):
    """Why it is not let in; None: it is."""
    return refused(fn, rfb.Refused, rfb.Closed, OSError)


def told(g, auth, sub):
    info, servers = g.q.cmd("query-vnc"), g.q.cmd("query-vnc-servers")[0]
    must(info["auth"] == auth, g, f"query-vnc: {info}")
    must(servers["auth"] == "vencrypt" and servers["vencrypt"] == sub and servers["server"][0]["vencrypt"] == sub, g, f"query-vnc-servers: {servers}")
    must(f"Auth: vencrypt (Sub: {sub})" in hmp(g.q, "info vnc"), g, hmp(g.q, "info vnc"))


def shows(g, c):
    c.set_encodings(rfb.ZRLE, rfb.DESKTOP_SIZE)
    c.request()
    return g.same(c)


# ---- who comes in ----

def certificates(g, pki, other):
    told(g, "vencrypt+x509+none", "x509-none")
    for limit in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx = context(pki)
        ctx.minimum_version = ctx.maximum_version = limit
        c = g.client(tls=ctx)
        must(c.subtypes == (260,) and c.link.s.version() == limit.name.replace("_", "."), g, f"{c.subtypes}, {c.link.s.version()}")
        must(shows(g, c), g, f"the picture under {limit.name} is not what screendump shows")
        c.link.close()
    for version in (b"RFB 003.007\n", b"RFB 003.889\n"):
        g.client(tls=context(pki), version=version).link.close()
    print("ok: X509None, TLS 1.2 and 1.3: the picture is screendump's")
    must("verify failed" in fails(lambda: g.client(tls=context(other))), g, "a client that trusts another CA is content")
    must("mismatch" in fails(lambda: g.client(tls=context(pki), name="elsewhere")), g, "the certificate is good for any name")
    for version in (b"RFB 003.003\n", b"RFB 003.008\n"):
        why = fails(lambda: g.client(version=version))
        must(why and ("TLS" in why or "19" in why or "closed" in why), g, f"a client without TLS, {version}: {why}")
    for kind in (0, 1, 2, 18):  # what is not offered
        c = rfb.Plain(g.path)
        c.read(12)
        c.send(b"RFB 003.008\n")
        must(c.read(2) == b"\1\x13", g, "something else than VeNCrypt is offered")
        c.send(bytes([kind]))
        must(c.read(4) == b"\0\0\0\1", g, f"security type {kind} is taken")
    print("ok: another CA, another name, no TLS: refused")


def both_certificates(work, image, pki, other):
    with Machine(work, "both", ["-S"] + creds("x509", pki), f"unix:{work}/both.vnc,tls-creds=t") as g:
        for ctx in (context(pki), context(pki, other)):
            must(fails(lambda: shows(g, g.client(tls=ctx))), g, "in without a certificate of that CA")
        c = g.client(tls=context(pki, pki))
        people = g.q.cmd("query-vnc")["clients"]
        must([p["x509_dname"] for p in people] in (["O=Test,CN=Anna"], ["CN=Anna,O=Test"]), g, f"clients {people}")
        must("x509_dname: " in hmp(g.q, "info vnc"), g, hmp(g.q, "info vnc"))
        c.link.close()
    name = people[0]["x509_dname"]
    for identity, comes in ((name, True), ("CN=Berta", False)):
        may = ["-object", f"authz-simple,id=z,identity={identity.replace(',', ',,')}"]
        with Machine(work, "may", ["-S"] + may + creds("x509", pki), f"unix:{work}/may.vnc,tls-creds=t,tls-authz=z") as g:
            why = fails(lambda: shows(g, g.client(tls=context(pki, pki))))
            must(bool(why) != comes, g, f"tls-authz for {identity}: {why}")
    print("ok: a client shows its certificate, its name is told, and lets it in")


def passwords(work, image, pki):
    for kind, args, ctx, sub, name in (("x509", creds("x509", pki, verify_peer="off"), context(pki), 261, "x509"), ("anon", creds("anon"), anonymous(), 258, "tls")):
        with Machine(work, f"pass-{kind}", ["-kernel", image, "-serial", "stdio", "-object", "secret,id=s,data=geheim"] + args,
                     f"unix:{work}/pass-{kind}.vnc,tls-creds=t,password-secret=s") as g:
            g.expect("A", 60)
            told(g, f"vencrypt+{name}+vnc", f"{name}-vnc")
            c = g.client(tls=ctx, password="geheim")
            must(c.subtypes == (sub,) and shows(g, c), g, f"no picture by subtype {c.subtypes}")
            must(fails(lambda: g.client(tls=ctx, password="falsch")) == "Authentication failed", g, "a wrong password is let in")
            must(fails(lambda: g.client(password="geheim")), g, "the password alone is enough")
    with Machine(work, "anon", ["-S", "-sandbox", "on"] + creds("anon"), f"unix:{work}/anon.vnc,tls-creds=t") as g:
        c = g.client(tls=anonymous())
        must(c.subtypes == (257,), g, f"subtypes {c.subtypes}")
        must(fails(lambda: g.client(tls=context(pki))), g, "a client that wants certificates is content with none")
    print("ok: X509Vnc, TLSVnc, TLSNone")


def web(work, image, pki):
    ws = vm.free_port()
    display = f"127.0.0.1:{max(vm.free_port(), 5901) - 5900},websocket={ws},tls-creds=t"
    with Machine(work, "wss", ["-serial", "stdio", "-kernel", image] + creds("x509", pki, verify_peer="off"), display) as g:
        g.expect("A", 60)
        own = int(g.q.cmd("query-vnc")["service"])
        for port, piece in ((ws, 0), (own, 0), (ws, 1)):
            s = context(pki).wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
            c = rfb.RFB(rfb.WebSocket(s, piece))
            must(c.kind == 1, g, f"security type {c.kind} under wss")
            c.set_encodings(rfb.TIGHT, rfb.DESKTOP_SIZE)
            c.request()
            must(c.settle(lambda: c.size == (640, 480) and c.rgb() == vga_guest.want()), g, f"the picture by wss on port {port}, pieces of {piece}")
            c.link.close()
        must(fails(lambda: rfb.WebSocket(("127.0.0.1", ws))), g, "ws without TLS on its port")
        why = fails(lambda: rfb.WebSocket(("127.0.0.1", own)))
        must("403" in why, g, f"ws without TLS on VNC's port: {why}")
        listen = {s["service"]: s for s in g.q.cmd("query-vnc-servers")[0]["server"]}
        must(listen[str(ws)]["auth"] == "none" and "vencrypt" not in listen[str(ws)], g, f"servers {listen}")
    print("ok: wss on its own port and on VNC's; ws is refused")


def handed(g, pki):
    """add_client: with TLS, or with skipauth without."""
    for skip in (False, True):
        ours = g.getfd("f")
        g.q.cmd("add_client", protocol="vnc", fdname="f", skipauth=skip)
        c = rfb.RFB(rfb.Plain(ours), tls=None if skip else context(pki))
        must(c.kind == (1 if skip else 19) and shows(g, c), g, f"add_client, skipauth {skip}")
        c.link.close()
    print("ok: add_client")


def reload(g):
    try:
        g.q.cmd("display-reload", type="vnc", **{"tls-certs": True})
    except RuntimeError as e:
        return str(e)
    return ""


def renewed(work, image, pki):
    """display-reload: another certificate for who comes, none that does not do, and who is there stays."""
    folder = f"{work}/renewed"
    shutil.copytree(pki, folder)
    with Machine(work, "renew", ["-S"] + creds("x509", folder, verify_peer="off"), f"unix:{work}/renew.vnc,tls-creds=t") as g:
        def shown():
            c = g.client(tls=context(pki))
            try:
                return c.link.s.getpeercert()["serialNumber"]
            finally:
                c.link.close()
        early, first = g.client(tls=context(pki)), shown()
        certificate(folder, "server", SERVER, folder)
        must(shown() == first, g, "another certificate before the reload")
        g.q.cmd("display-reload", type="vnc")
        must(shown() == first, g, "another certificate by a reload without tls-certs")
        must(reload(g) == "", g, "the reload is refused")
        second = shown()
        must(second != first, g, "the certificate is that of before the reload")
        must(shows(g, early), g, "who was there is not served any more")
        os.rename(f"{folder}/server-cert.pem", f"{work}/kept")
        must("server-cert.pem" in reload(g) and shown() == second, g, "no certificate")
        with open(f"{folder}/server-cert.pem", "w") as f:
            f.write("nonsense")
        must("server-cert.pem" in reload(g) and shown() == second, g, "a certificate of nonsense")
        os.rename(f"{work}/kept", f"{folder}/server-cert.pem")
        must(reload(g) == "" and shown() == second, g, "the certificate is there again")
        for which in (dict(), dict(type="sdl"), dict(type="vnc", other=1)):
            must(refused(lambda: g.q.cmd("display-reload", **which), RuntimeError), g, f"taken: {which}")
    for name, args, vnc, why in (("clear", [], "", "vnc tls is not enabled"), ("none", [], "none", "Can not find vnc display"),
                                 ("anonymous", creds("anon"), f"unix:{work}/anonymous.vnc,tls-creds=t", "doesn't support to reload")):
        with Machine(work, name, ["-S"] + args, vnc) as g:
            must(why in reload(g), g, f"{name}: {reload(g)}")
    print("ok: display-reload")


# ---- clients that misbehave ----

class Hands:
    """A client whose TLS is in our hands: what it says next is `out`."""

    def __init__(self, g, pki):
        self.link = rfb.Plain(g.path)
        self.steps = [(12, b"RFB 003.008\n"), (2, b"\x13"), (2, b"\0\2"), (6, struct.pack(">I", 260)), (1, b"")]
        self.came, self.goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context(pki).wrap_bio(self.came, self.goes, server_hostname="localhost")

    def say(self):
        """The next bytes; None: all is said."""
        while self.steps:
            n, word = self.steps.pop(0)
            self.link.read(n)
            if word:
                return word
        while self.tls:
            try:
                self.tls.do_handshake()
                self.tls.write(b"\1")
                self.tls = None
                return self.goes.read()
            except ssl.SSLWantReadError:
                if self.goes.pending:
                    return self.goes.read()
                self.link.fill()
                self.came.write(bytes(self.link.buf))
                self.link.buf.clear()
        return None


def leaving(g, pki):
    """Disconnects behind each step, and at places within what it says."""
    total, cut = None, 0
    while total is None or cut < total:
        h, said = Hands(g, pki), 0
        while (word := h.say()) is not None:
            h.link.send(word[:cut - said])
            said += len(word)
            if said > cut:
                break
        else:
            total = said
        h.link.close()
        cut += 1 if cut < 20 else 61
    g.q.cmd("query-status")
    must(shows(g, g.client(tls=context(pki))), g, "nobody else gets in afterwards")
    print(f"ok: a client leaves at {cut // 61 + 20} places of the {total} bytes that it has to say")


def junk(g, pki):
    def ends(h, what):
        h.link.s.settimeout(8)
        try:
            while h.link.s.recv(4096):
                pass
        except ConnectionError:
            pass
        except OSError as e:
            g.die(f"{what}: the connection goes on ({e})")

    for what, data in (("zeroes", bytes(100)), ("a plain RFB client", b"\1" + bytes(40)), ("random bytes", os.urandom(4000)),
                       ("a record of 64 KiB", b"\x16\3\1\xff\xff" + bytes(70000)), ("a handshake in 16 MiB", b"\x16\3\1\0\4\1\xff\xff\xff" + bytes(50)),
                       ("an alert", b"\x15\3\3\0\2\2\x28"), ("data before its time", b"\x17\3\3\0\5hello"), ("SSL 2", b"\x80\x2e\1\0\2\0\x15\0\0\0\x10")):
        h = Hands(g, pki)
        for _ in range(4):
            h.link.send(h.say())
        h.link.read(1)
        h.link.send(data)
        try:
            h.link.s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone already
        ends(h, what)
    for at, word in ((2, b"\0\1"), (2, b"\1\0"), (2, b"\0\0"), (3, struct.pack(">I", 257)), (3, struct.pack(">I", 256)), (3, b"\xff" * 4)):
        h = Hands(g, pki)
        for _ in range(at):
            h.link.send(h.say())
        h.say()
        h.link.send(word)
        ends(h, f"VeNCrypt {word.hex()}")
    # What it says in the clear together with the subtype does not count as said under TLS.
    h = Hands(g, pki)
    for _ in range(3):
        h.link.send(h.say())
    h.link.send(h.say() + b"\1" + bytes(60))
    ends(h, "RFB in the clear behind the subtype")
    must(shows(g, g.client(tls=context(pki))), g, "nobody else gets in afterwards")
    print("ok: nonsense ends that client's connection")


def stalls(g, pki):
    """Clients that stop in the handshake, at each step: the machine and other clients feel nothing, and after 10 s they are out."""
    stuck = []
    for n in range(1, 7):
        for _ in range(4):
            h = Hands(g, pki)
            for step in range(1, n + 1):
                word = h.say()
                h.link.send(word if step < n else word[:-1])
            stuck.append(h)
    start = time.monotonic()
    must(shows(g, g.client(tls=context(pki))), g, "no picture beside clients that stall")
    took = time.monotonic() - start
    must(took < 8 * vm.SLOW, g, f"beside clients that stall a picture takes {took:.1f} s")
    start = time.monotonic()
    for _ in range(20):
        g.q.cmd("query-status")
    must(time.monotonic() - start < 2 * vm.SLOW, g, f"20 questions take {time.monotonic() - start:.1f} s")
    for h in stuck:
        h.link.s.settimeout(20 * vm.SLOW)
        while h.link.s.recv(4096):
            pass
    print(f"ok: {len(stuck)} clients that stall in the handshake hold nobody up and are out after {time.monotonic() - start:.0f} s")


def many(g, pki):
    """All of the picture, raw, to a client that reads late: TLS keeps order and forgets nothing."""
    c = g.client(tls=context(pki))
    c.set_encodings(rfb.RAW)
    for _ in range(30):
        c.request()
    time.sleep(1)
    must(g.same(c), g, "the picture of a client that reads late")
    print("ok: a client that reads late")


# ---- others' clients ----

def tiger(work, image, pki, other):
    if not all(map(shutil.which, ("xtigervncviewer", "Xvfb", "xdotool"))):
        print("skipped: TigerVNC (xtigervncviewer, Xvfb or xdotool is not installed)")
        return
    import clients
    port = max(vm.free_port(), 5901)
    for kind, args, more in (("X509Vnc", creds("x509", pki, verify_peer="off"), [f"-X509CA={pki}/ca-cert.pem"]), ("TLSVnc", creds("anon"), [])):
        with Machine(work, f"tiger-{kind}", ["-S", "-kernel", image, "-serial", "stdio", "-object", "secret,id=s,data=geheim"] + args,
                     f"127.0.0.1:{port - 5900},tls-creds=t,password-secret=s") as g:
            def inside():
                return [e for e in g.q.events if e["event"] == "VNC_INITIALIZED"]
            if kind == "X509Vnc":  # a CA that did not sign: a dialogue asks, and nobody answers
                c = clients.Tiger(work, "en-us", port, 0, "geheim", [f"-X509CA={other}/ca-cert.pem", f"-SecurityTypes={kind}"])
                time.sleep(2)
                g.q.cmd("query-vnc")
                must(not inside(), g, "TigerVNC is in with a CA that did not sign")
                c.close()
            c = clients.Tiger(work, "en-us", port, 0, "geheim", more + [f"-SecurityTypes={kind}"])
            g.q.cmd("query-vnc")
            must(inside(), g, f"TigerVNC is not in by {kind}")
            must(inside()[-1]["data"]["server"]["auth"].startswith("vencrypt+"), g, inside()[-1])
            g.q.cmd("cont")
            g.expect("A", 60)
            must(clients.until(lambda: c.show() == (640, 480, vga_guest.want()), 30), g, f"TigerVNC's picture by {kind}")
            c.close()
        print(f"ok: TigerVNC by {kind}")


def refusals(work, pki):
    """What makes no sense is refused before anything runs."""
    for args, word in ((["-vnc", ":7,tls-creds=t"], "there is no tls-creds object 't'"),
                       (["-object", "tls-creds-anon,id=t", "-vnc", ":7,tls-creds=t"], "endpoint=server"),
                       (creds("anon", verify_peer="on"), "verify-peer"), (creds("x509"), "dir="), (creds("x509", work), "ca-cert.pem"),
                       (creds("psk", f"{work}/psk") + ["-vnc", ":7,tls-creds=t"], "tls-creds-psk"),
                       (["-object", "authz-simple,id=a,identity=x"] + creds("anon") + ["-vnc", ":7,tls-creds=t,tls-authz=a"], "tls-creds-x509 with verify-peer=on"),
                       (["-vnc", ":7,tls-authz=a"], "tls-creds-x509 with verify-peer=on")):
        p = subprocess.run(vm.emulator() + ["-M", "pc", "-accel", "xlate", "-nodefaults", "-S", *args], capture_output=True, text=True, timeout=60)
        if p.returncode != 1 or word not in p.stderr:
            vm.fail(f"{args}: {p.returncode} {p.stderr}")
    print("ok: refusals")


def main():
    vm.need("certtool", "psktool")
    work = vm.scratch()
    image = vga_guest.kernel(work)
    pki, other = f"{work}/pki", f"{work}/other"
    for folder in (pki, other):
        certificate(folder, "ca", AUTHORITY % folder[-3:])
        certificate(folder, "client", PERSON % "Anna", folder)
    certificate(pki, "server", SERVER, pki)
    os.mkdir(f"{work}/psk")
    subprocess.run(["psktool", "-u", "anna", "-p", f"{work}/psk/keys.psk"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    refusals(work, pki)
    with Machine(work, "x509", ["-serial", "stdio", "-kernel", image] + creds("x509", pki, verify_peer="off"), f"unix:{work}/x509.vnc,tls-creds=t") as g:
        g.expect("A", 60)
        certificates(g, pki, other)
        handed(g, pki)
        many(g, pki)
        leaving(g, pki)
        junk(g, pki)
        stalls(g, pki)
    renewed(work, image, pki)
    both_certificates(work, image, pki, other)
    passwords(work, image, pki)
    web(work, image, pki)
    tiger(work, image, pki, other)


if __name__ == "__main__":
    main()
