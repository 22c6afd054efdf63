#!/usr/bin/env bash
# Compiles assets/payload.bpf.o from its source. BPFTWIN_TOOLCHAIN is the folder that holds `compile` (clang for BPF: compile SOURCE OBJECT
# [FLAGS]), as an absolute path. A second run changes nothing.
set -euo pipefail
cd "$(dirname "$0")/../assets"
tools=$(cd "${BPFTWIN_TOOLCHAIN:?set BPFTWIN_TOOLCHAIN, see the first lines of this script}" && pwd)
"$tools/compile" payload.bpf.c payload.bpf.o -fdebug-compilation-dir=/src -Wall -Werror -fno-unroll-loops
llvm-strip-19 -g payload.bpf.o
