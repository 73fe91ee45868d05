# The Debian 12 packages that larder is built, tested and measured with, and
# how to get them. Sourced by tools/quickstart and tools/test.
# shellcheck shell=bash disable=SC2034

build_packages=(
  g++ cmake ninja-build pkg-config
  librocksdb-dev libboost-dev libexpected-dev libcereal-dev
  libxxhash-dev liblz4-dev libzstd-dev zlib1g-dev liblzma-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev
)
test_packages=(libgtest-dev librapidcheck-dev gnuplot-nox)
bench_packages=(libbenchmark-dev liblmdb-dev libsqlite3-dev)

# Sets `missing` to those of the given packages that are not installed.
find_missing_packages() {
  local package
  missing=()
  for package in "$@"; do
    if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
        grep -qx installed; then
      missing+=("$package")
    fi
  done
}

# install_packages PACKAGE...: installs what is missing, with sudo if this is
# not root. Says in one line what to do if it cannot.
install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "larder: this is not Debian: have these ready: $*" >&2
    return 0
  fi
  find_missing_packages "$@"
  if ((${#missing[@]} == 0)); then
    return 0
  fi
  local -a as_root=(env DEBIAN_FRONTEND=noninteractive)
  if [[ $(id -u) -ne 0 ]]; then
    # Without a terminal nobody can type a password.
    if ! command -v sudo >/dev/null || { [[ ! -t 0 ]] && ! sudo -n true; } 2>/dev/null
    then
      echo "larder: packages are missing and this is not root: run" \
        "'apt-get install ${missing[*]}' as root, then again" >&2
      return 1
    fi
    as_root=(sudo env DEBIAN_FRONTEND=noninteractive)
  fi
  echo "Installing ${missing[*]}"
  "${as_root[@]}" apt-get -qq update &&
    "${as_root[@]}" apt-get -qq install -y --no-install-recommends \
      "${missing[@]}" >/dev/null || {
    echo "larder: apt-get could not install ${missing[*]}: see above" >&2
    return 1
  }
}
