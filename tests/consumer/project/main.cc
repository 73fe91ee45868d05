// Uses every library of larder, to see that all of them are found and linked.

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <larder/cache/cache.h>
#include <larder/cache/key.h>
#include <larder/serializers/json.h>

namespace {

using Scores = std::map<std::string, std::vector<int>>;

int Report(const larder::Status& status) {
  std::fprintf(stderr, "consumer: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace

int main() {
  larder::CacheOptions options;
  options.settings = {{"size_limit", "64MiB"}, {"compression", "zstd"}};
  auto cache = larder::Cache::Open("", options);
  if (!cache) return Report(cache.error());

  const auto key = larder::Key::From("scores", 7);
  if (!key) return Report(key.error());
  const Scores scores = {{"ada", std::vector<int>(1000, 3)}, {"bob", {}}};
  const larder::Status set = (*cache)->Set(*key, larder::AsJson(scores));
  if (!set.ok()) return Report(set);
  const auto found = (*cache)->Get<larder::Json<Scores>>(*key);
  if (!found) return Report(found.error());
  if (!*found || (*found)->value != scores) {
    std::fprintf(stderr, "consumer: another value came back\n");
    return 1;
  }
  const larder::Status closed = (*cache)->Close();
  if (!closed.ok()) return Report(closed);
  std::puts("consumer: all well");
  return 0;
}
