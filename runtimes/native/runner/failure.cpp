#include "failure.h"

namespace svf {

std::string printable(const std::string& text) {
  std::string line;
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
    const unsigned lead = byte(i), next = byte(i + 1);
    size_t length = lead < 0x80   ? 1
                    : lead < 0xc2 ? 0
                    : lead < 0xe0 ? 2
                    : lead < 0xf0 ? 3
                    : lead < 0xf5 ? 4
                                  : 0;
    for (size_t k = 1; k < length; ++k)
      if (byte(i + k) >> 6 != 2) length = 0;
    // Overlong forms, surrogates and what lies beyond the last code point.
    if ((lead == 0xe0 && next < 0xa0) || (lead == 0xed && next > 0x9f) || (lead == 0xf0 && next < 0x90) ||
        (lead == 0xf4 && next > 0x8f))
      length = 0;
    if (lead < 32 || lead == 127)
      line += ' ';
    else if (length == 0)
      line += '?';
    else
      line.append(text, i, length);
    i += length ? length : 1;
  }
  return line;
}

}  // namespace svf
