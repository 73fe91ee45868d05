# What every target of larder shares: the language level, warnings and
# sanitizers, all private, so that no flag leaks into a consumer.
function(larder_configure target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(
    ${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                      -Woverloaded-virtual -Wcast-qual)
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
