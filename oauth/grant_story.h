// A stored grant in words, for whoever is woken up by it: what its state means, what happens next, and
// whether somebody has to do something.
#pragma once

#include "oauth/stored_grant.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::oauth {

struct GrantStory {
    std::string meaning;  // one sentence
    std::string advice;   // what to do; empty: nothing, it goes on by itself
    /// "refresh", "retry", "warn", "expire", "give_up_waiting", "probe", "revoke"; empty: nothing is planned.
    std::string_view next;
    std::string next_meaning;  // one sentence, always
};

/// `next_step` is when the refresher will look at it again, `certain_end` what certain_end_of() says. Nothing
/// in it is secret, and nothing comes from a server but normalised codes.
GrantStory story_of(const StoredGrant& grant, std::optional<base::Time> next_step, base::Time now,
                    std::optional<base::Time> certain_end = {});

/// 8 hex digits that are the same for the same token in this store, and say nothing about it.
std::string token_fingerprint(const vault::KeyRing& keys, const crypto::Secret& token);

}  // namespace claviger::oauth
