# Usage: awk -f check_includes.awk FILE...
# Finds the files that name a type, function, constant or macro of the project
# without including its header, themselves or by what they include. Compiled in
# batches such a file goes unnoticed, as another one before it did. A name that
# two files declare, or that is a member somewhere, is left out: what is told is
# true, but not all is found. Prints "FILE: uses NAME without HEADER".

# The file that an #include of `from` means; "": none of the project's.
function resolve(name, from,    i, path) {
  path = from
  sub(/[^\/]*$/, name, path)
  if (path in is_file) return path
  for (i = 1; i <= root_count; ++i) {
    path = roots[i] name
    if (path in is_file) return path
  }
  return ""
}

function declare(name, file) {
  if (name in home && home[name] != file) shared[name] = 1
  home[name] = file
}

# Comments, texts and what is named as a part of something else are no names.
function plain(line) {
  if (line ~ /^[ \t]*#[ \t]*include/) return ""
  gsub(/\\./, "", line)
  gsub(/"[^"]*"/, "", line)
  sub(/\/\/.*/, "", line)
  gsub(/(larder|internal|detail|base)::/, " ", line)
  gsub(/(\.|->|::)[A-Za-z_][A-Za-z_0-9]*/, " ", line)
  return line
}

# `to` and all that it includes is included by `from`.
function reach(from, to,    i) {
  if ((from, to) in reached) return
  reached[from, to] = 1
  for (i = 1; i <= include_count[to]; ++i) reach(from, includes[to, i])
}

BEGIN {
  root_count = split("engine/src/ engine/include/ cache/include/ cache/src/ " \
                     "serializers/include/ serializers/src/ tools/ tools/replay/ tools/report/ bench/", roots, " ")
  for (i = 1; i < ARGC; ++i) is_file[ARGV[i]] = 1
}

{
  file = FILENAME
  if (match($0, /^#[ \t]*include "[^"]+"/)) {
    name = $0
    sub(/^[^"]*"/, "", name)
    sub(/".*/, "", name)
    path = resolve(name, file)
    if (path != "") includes[file, ++include_count[file]] = path
    next
  }
  line = $0
  sub(/^template <.*> /, "", line)
  if (match(line, /^(class|struct|enum class|enum|union) +(alignas\([^)]*\) +|\[\[[a-z]+\]\] +)?[A-Z][A-Za-z0-9]*/)) {
    name = substr(line, RSTART, RLENGTH)
    sub(/.* /, "", name)
    if (line ~ /;[ \t]*$/ && line !~ /[{}]/) {
      forward[file, name] = 1
    } else {
      declare(name, file)
    }
  } else if (match(line, /^using [A-Z][A-Za-z0-9]* =/)) {
    split(line, words, " ")
    declare(words[2], file)
  } else if (match(line, /^#define LARDER_[A-Z_]+\(/)) {
    name = substr(line, 9, RLENGTH - 9)
    declare(name, file)
  } else if (match(line, /^(inline )?constexpr [^=({]* k[A-Z][A-Za-z0-9]*( =|\(|\{|;|$)/)) {
    name = substr(line, RSTART, RLENGTH)
    sub(/( =|\(|\{|;)$/, "", name)
    sub(/.* /, "", name)
    declare(name, file)
  }
  if (line ~ /^[A-Za-z[][A-Za-z0-9_:<>,\[\] *&]* [*&]*[A-Z][A-Za-z0-9]*\(/ &&
      line !~ /^(return|class|struct|enum|using|extern)/) {
    name = line
    sub(/\(.*/, "", name)
    sub(/.*[ *&]/, "", name)
    if (name ~ /^[A-Z][A-Za-z0-9]*$/) declare(name, file)
  }
  # Members hide what is called the same outside.
  if (file ~ /\.h$/ && match($0, /^[ \t]+[^\/]*[A-Za-z0-9>&*\]] [*&]*[A-Z][A-Za-z0-9]*\(/) &&
      $0 !~ /^[ \t]+return /) {
    name = substr($0, RSTART, RLENGTH - 1)
    sub(/.*[ *&]/, "", name)
    shared[name] = 1
  }
  if (match($0, /^[ \t]+static constexpr [^=({]* k[A-Z][A-Za-z0-9]*/)) {
    name = substr($0, RSTART, RLENGTH)
    sub(/.* /, "", name)
    shared[name] = 1
  }
  if (match($0, /^[ \t]*friend (class|struct) [A-Za-z]*/)) {
    name = substr($0, RSTART, RLENGTH)
    sub(/.* /, "", name)
    forward[file, name] = 1
  }
  if (match($0, /^[ \t]+(class|struct|enum class|enum|using|union) +[A-Z][A-Za-z0-9]*/)) {
    name = substr($0, RSTART, RLENGTH)
    sub(/.* /, "", name)
    shared[name] = 1
  }
  text[file, ++line_count[file]] = plain($0)
}

END {
  for (i = 1; i < ARGC; ++i) {
    file = ARGV[i]
    reach(file, file)
    split("", told)
    split("", known)
    for (key in forward) {
      split(key, pair, SUBSEP)
      if ((file, pair[1]) in reached) known[pair[2]] = 1
    }
    for (n = 1; n <= line_count[file]; ++n) {
      rest = text[file, n]
      while (match(rest, /[A-Za-z_][A-Za-z_0-9]*/)) {
        name = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        if (!(name in home) || name in shared || name in told) continue
        if (home[name] !~ /\.h$/ || (file, home[name]) in reached) continue
        if (name in known) continue
        told[name] = 1
        printf "%s: uses %s without %s\n", file, name, home[name]
      }
    }
  }
}
