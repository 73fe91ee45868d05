#ifndef LARDER_TOOLS_TORTURE_TORTURE_WRITER_H_
#define LARDER_TOOLS_TORTURE_TORTURE_WRITER_H_

#include <cstdint>
#include <string>

#include "larder/cache/cache.h"

#include "torture/torture_plan.h"

namespace larder::tools {

struct TortureWriterOptions {
  std::string directory;  ///< Of the cache.
  std::string work;       ///< Of journals and states.
  TortureLife life;
  std::uint64_t seed = 1;
};

/// One life of a writer: opens the cache, calls it and keeps its journal until
/// it is told to stop, or killed.
Status RunTortureWriter(const TortureWriterOptions& options,
                        CacheOptions cache_options);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_TORTURE_WRITER_H_
