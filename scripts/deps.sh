#!/usr/bin/env bash
# Makes sure that this machine has what a target needs: installs it if that is possible without asking
# (root or password-less sudo, and apt-get); otherwise prints one line that says what to install, and fails.
#   deps.sh build          C and C++ compilers, libclang (RocksDB's bindings)
#   deps.sh kafka          a JDK 17 or newer and Maven, for a real Apache Kafka as peer; unzip and patch, for its
#                          published tests
#   deps.sh lint           clippy and rustfmt of the toolchain
set -euo pipefail

missing=()
need() { missing+=("$1"); }
have() { command -v "$1" >/dev/null 2>&1; }

# libclang-cpp is a different library and does not help here.
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  local found
  found=$({ ldconfig -p 2>/dev/null || /sbin/ldconfig -p; compgen -G '/usr/lib/llvm-*/lib/libclang*.so*'; } || true)
  grep -qE 'libclang(-[0-9]+)?\.so' <<< "$found"
}
has_jdk() {
  have java && have javac || return 1
  local major
  major=$(javac -version 2>&1 | sed -E 's/^javac ([0-9]+).*/\1/')
  [ "$major" -ge 17 ]
}

for what in "$@"; do
  case $what in
    build)
      have cargo || { echo "deps: no Rust toolchain found: install it from https://rustup.rs and run this again" >&2; exit 1; }
      have c++ || need g++
      have make || need make
      has_libclang || need libclang-dev
      ;;
    kafka)
      has_jdk || need default-jdk-headless
      have mvn || need maven
      have unzip || need unzip
      have patch || need patch
      ;;
    lint)
      cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 && continue
      have rustup || { echo "deps: please install clippy and rustfmt for this Rust toolchain" >&2; exit 1; }
      rustup component add clippy rustfmt
      ;;
    *) echo "deps: unknown set '$what' (build, kafka, lint)" >&2; exit 2 ;;
  esac
done

[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
if have apt-get && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
  echo "deps: installing ${missing[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "deps: please install: ${missing[*]} (names of Debian packages), then run this again" >&2
  exit 1
fi
