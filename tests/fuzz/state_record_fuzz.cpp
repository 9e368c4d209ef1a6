// Fuzzes claviger_vault: no bytes make the reader of state records and slot descriptors misbehave, and what
// it accepts is written back the same way.
#include "vault/state_record.h"

#include <cstdint>
#include <cstdlib>

using namespace claviger;
using namespace claviger::vault;

namespace {

void must(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const base::ByteView row(reinterpret_cast<const char*>(data), size);
    const auto stored = decode_state(row);
    if (!stored) {
        must(stored.error().code == "state.refused");
        return 0;
    }
    must(stored->authenticated + stored->mac == row);
    const auto& record = stored->record;
    must(record.history == 0 || row[0] == 4);
    must(record.active_epoch() != 0 && record.slots.size() <= kMaxSlots &&
         record.epochs.size() <= kMaxEpochs);
    const auto written = encode(record);
    if (row[0] == 4) must(written == stored->authenticated);  // there is one way to write each record
    const auto again = decode_state(written + stored->mac);
    must(again && encode(again->record) == written);
    for (const auto& slot : record.slots) {
        crypto::plausible(slot.parameters);
        wrap_place(record, slot, record.active_epoch());
        slot.wrap_of(record.active_epoch());
    }
    return 0;
}
