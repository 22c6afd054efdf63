#!/usr/bin/env bash
# Makes the objects and headers of this folder: make.sh BPFTOOL (of Linux 7.3), with clang 19, bpf-gcc 12, libbpf's headers and vmlinux.h in
# $INCLUDE. make.sh BPFTOOL --leftovers makes only those of which libbpf leaves something out.
set -euo pipefail
cd "$(dirname "$0")"
bpftool=$1
build() { # SOURCE TARGET OUT
  clang-19 -g -O2 -mcpu=v3 -target "$2" -fms-extensions -Wno-everything -D__TARGET_ARCH_x86 -fdebug-compilation-dir=/src -ffile-prefix-map="$PWD"=/src -I"$INCLUDE" -c "$1" -o "$3.bpf.o"
  llvm-strip-19 -g "$3.bpf.o"
  "$bpftool" gen skeleton -L "$3.bpf.o" name "${3//-/_}" > "$3.lskel.h"
}
# objects of which libbpf leaves something out, and what it says (NAME.notes)
leftovers() {
  clang-19 -g -O2 -mcpu=v3 -target bpf -fdebug-compilation-dir=/src -ffile-prefix-map="$PWD"=/src -c leftovers.bpf.c -o leftovers.bpf.o
  clang-19 -g -O2 -mcpu=v3 -target bpf -fdebug-compilation-dir=/src -ffile-prefix-map="$PWD"=/src -c adrift.bpf.c -o adrift.o
  llvm-strip-19 -g leftovers.bpf.o adrift.o
  bpf-gcc -gbtf -O2 -c gcc.bpf.c -o gcc.bpf.o
  bpf-gcc -gbtf -O2 -mbig-endian -c gcc.bpf.c -o gcc-be.bpf.o
  for name in leftovers gcc gcc-be; do "$bpftool" gen skeleton -L "$name.bpf.o" name "${name//-/_}" > "$name.lskel.h" 2> "$name.notes"; done
}
if [ "${2:-}" = --leftovers ]; then leftovers; exit; fi
build declarations.bpf.c bpf declarations
build declarations.bpf.c bpfeb declarations-be
for name in kfuncs globals mapinmap; do build ../../../fixtures/src/$name.bpf.c bpfeb "$name-be"; done
build arena.bpf.c bpf arena
# objects that no loader can be generated for, or whose loader depends on the machine
for name in structops optional jumptables arenadata kconfig; do
  clang-19 -g -O2 -mcpu=v3 -target bpf -Wno-everything -fdebug-compilation-dir=/src -ffile-prefix-map="$PWD"=/src -c "$name.bpf.c" -o "$name.bpf.o"
  llvm-strip-19 -g "$name.bpf.o"
done
leftovers
clang-19 -g -O2 -mcpu=v3 -target bpfeb -fdebug-compilation-dir=/src -ffile-prefix-map="$PWD"=/src -c kconfig.bpf.c -o kconfig-be.bpf.o && llvm-strip-19 -g kconfig-be.bpf.o
