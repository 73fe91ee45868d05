#ifndef LARDER_TOOLS_COMMANDS_STANDARD_STREAMS_H_
#define LARDER_TOOLS_COMMANDS_STANDARD_STREAMS_H_

#include "larder/engine/status.h"

/// Standard input, output and error, which the caller may have closed.

namespace larder::tools {

/// Takes those of the descriptors 0 to 2 that are closed, for as long as the
/// process lives: they cannot be read or written (EBADF), as before, but no
/// file that is opened later becomes one of them. To be called before anything
/// is opened.
void KeepStandardDescriptors() noexcept;

/// Whether standard input can be read at all. Errors: kInvalidArgument (it is
/// closed, a directory, or open for writing only).
[[nodiscard]] Status CheckStandardInput() noexcept;

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_STANDARD_STREAMS_H_
