#!/bin/sh
# Builds the workload programs; runs inside the guest's root, with its compiler: build.sh SOURCES DEST
set -eu
cd "$1"
mkdir -p "$2/bin" "$2/data"
plain="-std=gnu17 -O2 -Wall -Wextra -fno-tree-vectorize"
for p in integer sha256 fp kernel threads; do gcc $plain -o "$2/bin/$p" "$p.c" -lm -lpthread; done
gcc -std=gnu17 -O3 -Wall -Wextra -o "$2/bin/vector" vector.c
gcc $plain -o "$2/bin/crypto" crypto.c -lcrypto
gcc $plain -static -o "$2/bin/runall" runall.c
gcc $plain -static -o "$2/bin/true-static" true.c
cp script.py script.pl "$2/bin/"
install -m 755 database.sh "$2/bin/database"
python3 data.py "$2/data"
[ -e "$2/data/rsa2048.pem" ] || openssl genrsa -out "$2/data/rsa2048.pem" 2048 2>/dev/null
