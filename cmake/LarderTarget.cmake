# What every target of larder shares: the language level, warnings and
# sanitizers, all private, so that no flag leaks into a consumer.
#
# Libraries are position independent, so that their archives can be linked into
# a shared library, and are as fast in a program as without that: the compiler
# inlines as it likes, as if nobody replaced a function of theirs, and the
# linker turns what goes through tables (calls, variables, thread-local ones)
# into direct accesses. A shared library that exports them has calls bound to
# those of a host that does so, too: README.md says how not to.
function(larder_configure target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(
    ${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                      -Woverloaded-virtual -Wcast-qual)
  get_target_property(type ${target} TYPE)
  if(NOT type STREQUAL "EXECUTABLE")
    set_target_properties(
      ${target} PROPERTIES POSITION_INDEPENDENT_CODE ON
                           VISIBILITY_INLINES_HIDDEN ON)
    # Two libraries of a process may each have a larder of its own: what is
    # unique in the process would belong to both.
    target_compile_options(
      ${target} PRIVATE -fno-semantic-interposition
                        $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  endif()
  if(LARDER_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(LARDER_SANITIZE)
    list(JOIN LARDER_SANITIZE "," sanitizers)
    target_compile_options(
      ${target} PRIVATE -fsanitize=${sanitizers} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
