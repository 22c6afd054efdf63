#!/usr/bin/env bash
# Makes the objects and modules of this folder, with clang 19 and the built command (npm run build). A second run changes nothing.
set -euo pipefail
cd "$(dirname "$0")"
for name in probes congestion special; do
  clang-19 -g -O2 -mcpu=v3 -target bpf -Wall -fdebug-compilation-dir=/src -ffile-prefix-map="$PWD"=/src -c "$name.bpf.c" -o "$name.bpf.o"
  llvm-strip-19 -g "$name.bpf.o"
  ${BPFTWIN:-node ../../dist/src/cli/main.js} gen skeleton --lang ts --runtime ../../src/index.ts "$name.bpf.o" name "$name" > "$name.ts"
done
bpftwin() { ${BPFTWIN:-node ../../dist/src/cli/main.js} gen skeleton --lang ts --runtime ../../src/index.ts "$@"; }
bpftwin -L special.bpf.o name special > special.light.ts
for name in jumptables arena arenadata; do bpftwin ../unit/loader/data/$name.bpf.o name $name > $name.ts; done
bpftwin -L ../unit/loader/data/arena.bpf.o name arena > arena.light.ts
