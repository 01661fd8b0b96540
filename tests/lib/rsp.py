"""A client of the gdb server that takes packets as they come (RSP, gdb's manual, appendix E). It acknowledges nothing: sockets lose nothing."""
import re

import vm


class Client:
    def __init__(self, path, connects=10 * vm.SLOW, answers=10 * vm.SLOW):
        """Seconds for each."""
        self.buf = b""
        self.s = vm.connect(path, "gdb server", connects)
        self.s.settimeout(answers)

    def send(self, text):
        body = text.encode()
        self.s.sendall(b"$" + body + b"#%02x" % (sum(body) & 255))

    def packet(self):
        """The next packet's body; None: it has hung up."""
        while not (m := re.search(rb"\$([^#]*)#..", self.buf)):
            more = self.s.recv(65536)
            if not more:
                return None
            self.buf += more
        self.buf = self.buf[m.end():]
        return m[1].decode()

    def ask(self, text):
        self.send(text)
        return self.packet()
