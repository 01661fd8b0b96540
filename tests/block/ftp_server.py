#!/usr/bin/python3
"""An ftp server for http.sh, by Debian's pyftpdlib: ftp_server.py FOLDER PORTFILE. User me, password "open sesame"; anonymous."""
import logging
import os
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

logging.basicConfig(level=logging.CRITICAL)
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("me", "open sesame", sys.argv[1])
FTPHandler.authorizer.add_anonymous(sys.argv[1])
server = ThreadedFTPServer(("127.0.0.1", 0), FTPHandler)
with open(sys.argv[2] + ".new", "w") as out:
    out.write("%d" % server.address[1])
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
