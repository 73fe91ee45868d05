#!/bin/sh
# check_parity.sh SOURCE_DIR: every test that docs/parity.md names exists, and
# every row is done or says which step brings it.
set -eu
cd "$1"
status=0
for name in $(grep -o '`[A-Za-z]*\.[A-Z][A-Za-z]*`' docs/parity.md | tr -d '`'); do
  suite=${name%%.*}
  case=${name#*.}
  if ! find tests -name '*.cc' -exec cat {} + | tr '\n' ' ' |
    grep -qE "TEST(_F|_P)?\($suite, *$case\)"; then
    echo "docs/parity.md names $name, which does not exist"
    status=1
  fi
done
if grep '^| ' docs/parity.md | grep -vE '^\| (Row|.*\| (done|open|later: (eviction|processes|library)) \|)'; then
  echo "docs/parity.md: these rows have no state"
  status=1
fi
[ "$(grep -c '| done |' docs/parity.md)" -gt 30 ] || { echo "too few rows"; status=1; }
exit $status
