// Weight rows of the event-driven form for sets with 16-bit shifts: an int16 holds two channels, one in its
// high byte and one, plus 128, in its low byte. Such pairs are added whole, and their high bytes apart: three
// operations where widening both takes four. What the high bytes' sum does not account for is the low bytes'.
#ifndef SVF_PAIRED_ROWS_H
#define SVF_PAIRED_ROWS_H

#include <stdint.h>
#include <string.h>

namespace svf {
namespace {

struct PairedRows {
  // What the sum of `count` pairs starts with, to be rid of the 128 of each.
  static int16_t start(int count) { return static_cast<int16_t>(-128 * count); }

  // 64 channels: of 32, the first 16 become low bytes.
  static void order(int8_t* row) {
    for (int8_t* half = row; half < row + 64; half += 32) {
      int8_t from[32];
      memcpy(from, half, sizeof from);
      for (int i = 0; i < 16; ++i) {
        half[2 * i] = static_cast<int8_t>(from[i] + 128);
        half[2 * i + 1] = from[16 + i];
      }
    }
  }
};

}  // namespace
}  // namespace svf
#endif
