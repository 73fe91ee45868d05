// What check_statics.sh has to find.

#include <string>

namespace larder::testing {

const std::string& Late() {
  static const std::string text(40, 'x');
  return text;
}

}  // namespace larder::testing
