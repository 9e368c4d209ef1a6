// Sub-keys depend on root, purpose and id, and stay what they were.
#include "crypto/key_tree.h"

#include "tests/crypto/vectors.h"

#include <set>

using namespace claviger;
using namespace claviger::crypto;

namespace {

const std::pair<Purpose, const char*> kPurposes[] = {
    {Purpose::vault_key_wrap, "VKWRAP__"},    {Purpose::state_mac, "STATEMAC"},
    {Purpose::audit_fingerprint, "AUDITFPR"}, {Purpose::row_sums, "ROWSUMS_"},
    {Purpose::session_ids, "SESSIDS_"},       {Purpose::cursors, "CURSORS_"},
    {Purpose::agent_handles, "HANDLES_"},     {Purpose::connect_secrets, "CONNECT_"},
    {Purpose::webhook_secrets, "WEBHOOKS"},   {Purpose::outbox_secrets, "OUTBOX__"},
    {Purpose::token_fingerprint, "TOKENFPR"}, {Purpose::log_pin, "LOGPIN__"},
    {Purpose::backup_header, "BACKUP__"}};

}  // namespace

TEST_CASE("Sub-keys are the ones an independent implementation derives", "[crypto]") {
    const auto root = key_of(run(0, 32));
    for (const auto& [purpose, label] : kPurposes)
        CHECK(bytes_of(derive(root, purpose)) == golden("sub_key." + std::string(label) + ".1"));
    CHECK(bytes_of(derive(root, Purpose::vault_key_wrap, 258)) == golden("sub_key.VKWRAP__.258"));
}

TEST_CASE("No two purposes, ids or roots share a sub-key", "[crypto]") {
    std::set<base::Bytes> keys;
    const auto first = Key::generate();
    const auto second = Key::generate();
    for (const auto* root : {&first, &second}) {
        keys.insert(bytes_of(*root));
        for (const auto& [purpose, label] : kPurposes)
            for (const std::uint64_t id : {0, 1, 2}) keys.insert(bytes_of(derive(*root, purpose, id)));
    }
    CHECK(keys.size() == 2 * (1 + std::size(kPurposes) * 3));
}
