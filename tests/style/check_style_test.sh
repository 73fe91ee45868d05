#!/usr/bin/env bash
# Shows that each rule of check_style.sh finds what it is there to find.
# Usage: check_style_test.sh CHECK_STYLE_SH
set -u
check=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failure_count=0

# A tree without faults.
fresh_tree() {
  rm -rf "${root:?}"/*
  mkdir -p "$root"/{engine,cache,serializers}/src "$root"/engine/src/{base,store} \
    "$root"/engine/include/larder/engine "$root"/tools "$root"/tests
  cat >"$root/engine/include/larder/engine/store.h" <<'END'
#ifndef LARDER_ENGINE_STORE_H_
#define LARDER_ENGINE_STORE_H_

#include <string>
#include <tl/expected.hpp>

#include "larder/engine/status.h"

#endif  // LARDER_ENGINE_STORE_H_
END
  echo '#include <rocksdb/db.h>' >"$root/engine/src/store/store.cc"
  echo '#include <cereal/cereal.hpp>' >"$root/serializers/src/codec.cc"
  echo '#include "larder/engine/store.h"' >"$root/cache/src/cache.cc"
  echo '# Larder' >"$root/README.md"
}

# expect RULE CODE TEXT: the rule ends so on the tree, and says so.
expect() {
  local output code
  output=$("$check" "$1" "$root" 2>&1)
  code=$?
  if [ "$code" -ne "$2" ] || [[ $output != *"$3"* ]]; then
    echo "rule $1: exit code $code, expected $2 and \"$3\"; output:"
    echo "$output"
    failure_count=$((failure_count + 1))
  fi
}

# finds RULE FILE LINE TEXT: with LINE added to FILE the rule complains.
finds() {
  fresh_tree
  mkdir -p "$(dirname "$root/$2")"
  printf '%b\n' "$3" >>"$root/$2"
  expect "$1" 1 "$4"
}

fresh_tree
for rule in ascii guards names arrows includes opens; do
  expect "$rule" 0 ''
done
expect unknown 2 'usage'

finds ascii README.md 'caf\0303\0251' 'README.md:2'
finds ascii engine/src/store/store.cc '// \0342\0200\0224' 'not ASCII'

finds guards engine/src/seat/seat.h '#pragma once' 'LARDER_ENGINE_SRC_SEAT_SEAT_H_'
finds guards tests/model.h '#ifndef MODEL_H\n#define MODEL_H\n#endif' \
  'LARDER_TESTS_MODEL_H_'
finds guards engine/include/larder/engine/store.h '// More.' 'does not end'

finds names engine/src/seat/SeatLock.cc '' 'snake_case'
finds names cache/src/cache.cpp '' '.h or .cc'

finds arrows serializers/src/codec.cc '#include "larder/engine/status.h"' \
  'serializers know no store'
finds arrows engine/src/store/store.cc '#  include <larder/serializers/codec.h>' \
  'the engine knows bytes only'
finds arrows engine/src/store/store.cc '#include "larder/cache/cache.h"' \
  'the engine knows bytes only'
finds arrows cache/src/cache.cc '#include <cereal/cereal.hpp>' \
  'serializers/ alone'
finds arrows tools/main.cc '#include <rocksdb/db.h>' 'stay in engine/src/'
finds arrows cache/src/cache.cc '#include "../../engine/src/seat/seat.h"' \
  'only what is below'
finds arrows engine/src/segments/segment_log.cc '#include "store/store.h"' \
  'segments/segment_log.cc:1: includes store/store.h: engine/src/segments may'
finds arrows engine/src/hot/hot_arena.h '#  include "index/entry.h"' 'hot may'
finds arrows engine/src/store/store.cc '#include "entry.h"' 'from these'
finds arrows engine/src/seat.cc '#include "base/check.h"' 'in no room'
finds arrows engine/src/attic/seat.cc '' 'attic is no room'
fresh_tree
for ((i = 0; i < 25; ++i)); do touch "$root/engine/src/store/unit$i.cc"; done
expect arrows 1 'holds 26 units'
finds arrows cache/src/cache.cc '#include "tools/output.h"' 'only what is below'
finds arrows engine/include/larder/engine/store.h '#include <rocksdb/db.h>' \
  'public headers'
finds arrows engine/include/larder/engine/store.h '#include <unistd.h>' \
  'public headers'

# A name of a header is included, by another header too, or there is a fault;
# one that is only declared, or that a member has, is none.
headers_tree() {
  fresh_tree
  mkdir -p "$root/engine/src/seat"
  printf 'class SeatLock {\n};\ninline void TakeSeat(int count) {\n}\n' \
    >"$root/engine/src/seat/seat_lock.h"
  printf '#include "seat/seat_lock.h"\n' >"$root/engine/src/seat/seat_user.h"
}
uses() {
  headers_tree
  printf '%b\n' "$1" >"$root/engine/src/store/store.cc"
  expect includes "$2" "$3"
}
uses 'SeatLock lock;' 1 'store.cc: uses SeatLock without engine/src/seat/seat'
uses 'void F() { TakeSeat(1); }' 1 'uses TakeSeat without'
uses '#include "seat/seat_lock.h"\nSeatLock lock;' 0 ''
uses '#include "seat/seat_user.h"\nvoid F() { TakeSeat(1); }' 0 ''
uses 'class SeatLock;\nSeatLock* lock;' 0 ''
uses '// SeatLock is elsewhere.\nint x = y.SeatLock;' 0 ''

finds opens engine/src/store/store.cc 'int fd = ::open(path, 0);' 'store.cc:2'
finds opens engine/src/store/store.cc '  return UniqueFd(::openat(d, p, 0));' 'opens a'
finds opens engine/src/store/store.cc 'std::ifstream file(path);' 'see open_file.h'
finds opens cache/src/cache.cc 'for (auto& e : fs::directory_iterator(p)) {' \
  'cache.cc:2'
finds opens cache/src/cache.cc '::fcntl(fd, F_DUPFD_CLOEXEC, 0);' 'cache.cc:2'
fresh_tree
echo 'return ::openat(d, p, 0);' >"$root/engine/src/base/open_file.cc"
expect opens 0 ''

if "$check" format "$root" >/dev/null 2>&1; [ $? -ne 77 ]; then
  finds format engine/src/store/store.cc 'int  x ;' 'engine/src/store/store.cc:2'
fi

if [ "$failure_count" -ne 0 ]; then
  echo "$failure_count failures"
  exit 1
fi
