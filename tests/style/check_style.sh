#!/usr/bin/env bash
# Checks what a compiler does not: one rule of style over the whole tree.
# Usage: check_style.sh RULE ROOT
#   RULE: ascii, guards, names, arrows, includes, opens or format
# Prints one line for each fault. Exit code: 0 none, 1 some, 2 usage, 77 cannot
# be checked here.
set -u
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rule=${1:-} root=${2:-}
cd "$root" || exit 2

components='cache engine serializers'
fault_count=0

fault() {
  echo "$*"
  fault_count=$((fault_count + 1))
}

# Files below the directories given (those that exist) with one of the name
# patterns after `--`, sorted.
files_below() {
  local dirs=() patterns=()
  while [ "$1" != -- ]; do
    [ -d "$1" ] && dirs+=("$1")
    shift
  done
  shift
  for pattern in "$@"; do
    patterns+=(-o -name "$pattern")
  done
  [ ${#dirs[@]} -eq 0 ] && return
  find "${dirs[@]}" -type f \( "${patterns[@]:1}" \) | sort
}

source_dirs="$components bench tests tools"

sources() {
  # shellcheck disable=SC2086
  files_below $source_dirs -- '*.h' '*.cc'
}

# Every text file of the project is ASCII.
check_ascii() {
  local found
  # shellcheck disable=SC2086
  found=$({
    files_below $source_dirs cmake docs .ci -- '*.h' '*.cc' '*.in' '*.cmake' \
      '*.txt' '*.md' '*.sh' '*.py' '*.json' '*.yml'
    find . -maxdepth 1 -type f | sed 's|^\./||'
  } | tr '\n' '\0' | xargs -0 grep -nP '[^\x00-\x7F]' /dev/null)
  while IFS= read -r line; do
    [ -n "$line" ] && fault "$line: not ASCII"
  done <<<"$found"
}

# engine/include/larder/engine/store.h has LARDER_ENGINE_STORE_H_,
# engine/src/os/futex.h LARDER_ENGINE_SRC_OS_FUTEX_H_, tests/x.h LARDER_TESTS_X_H_.
check_guards() {
  local line
  while IFS= read -r line; do
    fault "$line"
  done < <(sources | grep '\.h$' | tr '\n' '\0' | xargs -0 awk '
    function end_file() {
      if (code_lines < 2 || first != "#ifndef " guard ||
          second != "#define " guard) {
        print file ": does not begin with #ifndef and #define " guard
      }
      if (last != "#endif  // " guard) {
        print file ": does not end with #endif  // " guard
      }
    }
    FNR == 1 {
      if (file != "") end_file()
      file = guard = FILENAME
      sub(/^.*\/include\/larder\//, "", guard)
      gsub(/[^a-zA-Z0-9]/, "_", guard)
      guard = "LARDER_" toupper(guard) "_"
      code_lines = 0
    }
    { last = $0 }
    /^$/ || /^\/\// { next }
    ++code_lines == 1 { first = $0 }
    code_lines == 2 { second = $0 }
    END { if (file != "") end_file() }')
}

# Sources and directories are snake_case; no other endings for C++.
check_names() {
  local file
  while IFS= read -r file; do
    case $file in
    *.h | *.cc) ;;
    *) fault "$file: C++ files end in .h or .cc" ;;
    esac
    if [[ ! $file =~ ^[a-z0-9_/]+\.[a-z]+$ ]]; then
      fault "$file: names are snake_case"
    fi
  done < <(
    # shellcheck disable=SC2086
    files_below $source_dirs -- '*.h' '*.cc' '*.hpp' '*.cpp' '*.cxx' '*.c' \
      '*.hh' '*.C' '*.H'
  )
}

# What the files given include, as "file:line:<header" or "file:line:"header".
includes_of() {
  sed '/^$/d' | tr '\n' '\0' |
    xargs -0 grep -nE '^[[:space:]]*#[[:space:]]*include' /dev/null |
    sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*).*/:\1/'
}

# forbid FILES REGEX WHY: no include in the files matches.
forbid() {
  local line
  while IFS= read -r line; do
    fault "${line%%:[<\"]*}: includes ${line##*:[<\"]}: $3"
  done < <(printf '%s\n' "$1" | includes_of | grep -E ":[<\"]($2)")
}

# serializers/ and engine/ know nobody, cache/ knows both, nobody knows tools/,
# bench/ and tests/. Public headers show the standard library, tl::expected and
# larder; cereal stays in serializers/, RocksDB and Boost in engine/src/.
check_arrows() {
  local component line header
  forbid "$(files_below serializers -- '*.h' '*.cc')" 'larder/(engine|cache)/' \
    'serializers know no store'
  forbid "$(files_below engine -- '*.h' '*.cc')" 'larder/(serializers|cache)/' \
    'the engine knows bytes only'
  forbid "$(files_below engine cache tools bench -- '*.h' '*.cc')" 'cereal/' \
    'cereal is for serializers/ alone'
  forbid "$(files_below serializers cache tools -- '*.h' '*.cc')" \
    '(rocksdb|boost)/' 'RocksDB and Boost stay in engine/src/'
  # shellcheck disable=SC2086
  forbid "$(files_below $components -- '*.h' '*.cc')" \
    '(\.\./|tools/|bench/|tests/)' 'components know only what is below them'
  check_rooms

  for component in $components; do
    while IFS= read -r line; do
      header=${line##*:[<\"]}
      case $header in
      larder/*) ;;
      tl/expected.hpp) ;;
      cereal/*) [ "$component" = serializers ] && continue ;;&
      */* | *.*) fault "${line%%:[<\"]*}: includes $header: public headers" \
        "include the standard library, tl/expected.hpp and larder/ only" ;;
      esac
    done < <(files_below "$component/include" -- '*.h' | includes_of)
  done
}

# The rooms of engine/src, each with those that it may include: a line may name
# only what stands above it, so that no arrow runs back up.
rooms='base:
os:base
policy:base
directory:base os
segments:base os directory
trace:base os
hot:base os segments
messages:base segments
index:base os policy directory segments hot messages
repair:base os directory segments index
commit:base os policy directory segments hot messages index
space:base os policy directory segments hot messages index commit
store:base os policy directory segments hot messages index repair commit space
seat:base os directory hot messages
shared:base os policy directory segments hot messages commit store seat'
# A header and its source are one unit.
room_units_max=25

check_rooms() {
  local line
  # One awk for all: a process for each room takes long.
  while IFS= read -r line; do
    fault "$line"
  done < <({
    files_below engine/src -- '*.h' '*.cc' | includes_of
    files_below engine/src -- '*.h' '*.cc'
  } | awk -v rooms="$rooms" -v units_max="$room_units_max" '
    BEGIN {
      room_count = split(rooms, lines, "\n")
      for (i = 1; i <= room_count; ++i) {
        split(lines[i], parts, ":")
        names[i] = parts[1]
        allowed[parts[1]] = " " parts[1] " " parts[2] " "
      }
    }
    {
      path = $0
      sub(/^engine\/src\//, "", path)
      room = path ~ /\// ? substr(path, 1, index(path, "/") - 1) : ""
    }
    /:"/ {  # An include.
      if (!(room in allowed)) next
      header = $0
      sub(/^[^"]*"/, "", header)
      other = header ~ /\// ? substr(header, 1, index(header, "/") - 1) : ""
      if (header ~ /^[a-z0-9_]+\.h$/ ||
          (other in allowed && !index(allowed[room], " " other " "))) {
        sub(/:"[^"]*$/, "")
        print $0 ": includes " header ": engine/src/" room \
          " may include from these rooms:" allowed[room]
      }
      next
    }
    /:</ { next }
    room == "" {
      if ($0 != "engine/src/open_engine.cc") print $0 ": stands in no room"
      next
    }
    !(room in allowed) { print $0 ": " room " is no room" }
    {
      sub(/\.[a-z]*$/, "")
      if (!seen[$0]++) ++units[room]
    }
    END {
      for (i = 1; i <= room_count; ++i) {
        if (units[names[i]] > units_max) {
          print "engine/src/" names[i] ": holds " units[names[i]] \
            " units, more than " units_max
        }
      }
    }')
}

# Only engine/src/base/open_file.cc gets descriptors from the system: it keeps
# them from becoming standard input or output, and pipes and links from being
# opened.
check_opens() {
  local line
  while IFS= read -r line; do
    case $line in
    '' | engine/src/base/open_file.cc:*) ;;
    *) fault "$line: opens a file; see open_file.h" ;;
    esac
  done < <(
    files_below engine cache -- '*.h' '*.cc' | tr '\n' '\0' |
      xargs -0 grep -nE \
        -e '(^|[^A-Za-z0-9_])(::|std::)(open|openat|creat|opendir|fdopendir|fopen|freopen|shm_open|sem_open|mkstemp|mkostemp|tmpfile|memfd_create|dup|dup2|dup3|pipe|pipe2|popen|socket|socketpair|eventfd|epoll_create1|inotify_init1|signalfd|timerfd_create)\(' \
        -e '(fstream|filebuf|directory_iterator)([^a-z_>]|$)' \
        -e 'F_DUPFD' /dev/null | cut -d: -f1,2
  )
}

# Each file includes what it names. Tests are compiled one by one anyway.
check_includes() {
  local line found
  # shellcheck disable=SC2086
  found=$(files_below $components bench tools -- '*.h' '*.cc' |
    xargs awk -f "$here/check_includes.awk")
  while IFS= read -r line; do
    [ -n "$line" ] && fault "$line"
  done <<<"$found"
}

# As clang-format of the version that Debian 12 has would write it.
check_format() {
  local tool=${CLANG_FORMAT:-clang-format} faulty
  if ! "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
    echo "clang-format 14 is not installed"
    exit 77
  fi
  faulty=$(sources | tr '\n' '\0' |
    xargs -0 "$tool" --dry-run --ferror-limit=1 2>&1 |
    sed -n 's/^\([^ :]*\):\([0-9]*\):.*-Wclang-format-violations.*/\1:\2/p')
  for line in $faulty; do
    fault "$line: run clang-format -i"
  done
}

case $rule in
ascii | guards | names | arrows | includes | opens | format) "check_$rule" ;;
*)
  echo "usage: check_style.sh ascii|guards|names|arrows|includes|opens|format" \
    ROOT >&2
  exit 2
  ;;
esac
[ "$fault_count" -eq 0 ] || {
  echo "$fault_count faults"
  exit 1
}
