#!/usr/bin/env bash
# check_statics.sh ARCHIVE: no function of it has a static variable that is made
# at its first use: a child that is forked meanwhile would wait for ever. And
# nothing is unique in a process, which may have two such archives in it.
set -euo pipefail

symbols=$(readelf -sW -- "$1")
failed=0
tell() {
  local found
  found=$(grep -E "$2" <<<"$symbols" | awk '{print $8}' | sort -u || true)
  [ -z "$found" ] && return
  echo "$1:"
  c++filt <<<"$found"
  failed=1
}
tell "made at their first use (see base/immortal.h)" \
  ' OBJECT .* _ZGV[A-Za-z]*N?[0-9A-Z]*6larder'
tell "unique in a process" ' UNIQUE .*6larder'
exit "$failed"
