#!/bin/sh
# Builds and runs the consumer with nothing but a compiler and pkg-config.
# Usage: pkg_config.sh PREFIX LIBDIR COMPILER SOURCE OUTPUT [FLAG...]
set -eu
prefix=$1 libdir=$2 compiler=$3 source=$4 output=$5
shift 5
PKG_CONFIG_PATH="$prefix/$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export PKG_CONFIG_PATH
# Word splitting is wanted: pkg-config gives one flag per word.
# shellcheck disable=SC2046
"$compiler" -std=c++20 $(pkg-config --cflags larder) "$source" -o "$output" \
  "$@" $(pkg-config --static --libs larder)
LD_LIBRARY_PATH="$prefix/$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$output"
