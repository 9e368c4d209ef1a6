#include "oauth/stored_grant.h"

#include "base/bytes.h"
#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <concepts>
#include <type_traits>

namespace claviger::oauth {
namespace {

using nlohmann::json;

struct Malformed {};

template <class Enum>
struct Named {
    std::string_view name;
    Enum value;
};
constexpr Named<RefreshTokenReuse> kReuses[] = {{"unknown", RefreshTokenReuse::unknown},
                                                {"reusable", RefreshTokenReuse::reusable},
                                                {"grace", RefreshTokenReuse::grace},
                                                {"strict", RefreshTokenReuse::strict}};
constexpr Named<OldAccessToken> kOldTokens[] = {{"unknown", OldAccessToken::unknown},
                                                {"survives", OldAccessToken::survives},
                                                {"dies", OldAccessToken::dies}};
constexpr Named<LifetimeSource> kSources[] = {{"response", LifetimeSource::response},
                                              {"jwt", LifetimeSource::jwt},
                                              {"introspection", LifetimeSource::introspection},
                                              {"profile", LifetimeSource::profile},
                                              {"unknown", LifetimeSource::unknown}};
constexpr const auto& names(RefreshTokenReuse) { return kReuses; }
constexpr const auto& names(OldAccessToken) { return kOldTokens; }
constexpr const auto& names(LifetimeSource) { return kSources; }

/// Members that hold their default are left out, so both ways go through one list of members.
class Writer {
public:
    template <class T>
    void operator()(const char* name, const T& value) {
        if (!(value == T{})) out[name] = written(value);
    }

    void operator()(const char* name, LifetimeSource source) {
        if (source != LifetimeSource::unknown) out[name] = written(source);
    }

    json out = json::object();

private:
    static json written(bool value) { return value; }
    static json written(std::integral auto value) { return value; }
    static json written(const std::string& text) { return text; }
    static json written(base::Time time) { return time.time_since_epoch().count(); }
    static json written(std::chrono::seconds seconds) { return seconds.count(); }
    static json written(const base::RawId& id) {
        return base::to_hex({reinterpret_cast<const char*>(id.data()), id.size()});
    }
    static json written(GrantState state) { return to_text(state); }
    template <class Enum>
        requires std::is_enum_v<Enum>
    static json written(Enum value) {
        for (const auto& each : names(value))
            if (each.value == value) return each.name;
        return nullptr;
    }
    template <class T>
    static json written(const std::optional<T>& value) {
        return written(*value);
    }
    template <class T>
    static json written(const std::vector<T>& values) {
        json list = json::array();
        for (const auto& value : values) list.push_back(written(value));
        return list;
    }
    template <class T>
        requires requires(T& object, Writer& writer) { members(object, writer); }
    static json written(const T& object) {
        Writer writer;
        members(object, writer);
        return std::move(writer.out);
    }
};

class Reader {
public:
    explicit Reader(const json& in) : in_(in) {
        if (!in.is_object()) throw Malformed{};
    }
    template <class T>
    void operator()(const char* name, T& value) {
        const auto found = in_.find(name);
        if (found == in_.end()) return;
        ++taken_;
        read(*found, value);
    }
    void finish() const {
        if (taken_ != in_.size()) throw Malformed{};
    }

private:
    static void read(const json& in, bool& value) {
        if (!in.is_boolean()) throw Malformed{};
        value = in.get<bool>();
    }
    template <std::integral T>
    static void read(const json& in, T& value) {
        if (!in.is_number_integer() || (std::is_unsigned_v<T> && !in.is_number_unsigned())) throw Malformed{};
        value = in.get<T>();
    }
    static void read(const json& in, std::string& text) {
        if (!in.is_string()) throw Malformed{};
        text = in.get_ref<const std::string&>();
    }
    static void read(const json& in, base::Time& time) {
        std::int64_t ms = 0;
        read(in, ms);
        time = base::Time(std::chrono::milliseconds(ms));
    }
    static void read(const json& in, std::chrono::seconds& seconds) {
        std::int64_t count = 0;
        read(in, count);
        seconds = std::chrono::seconds(count);
    }
    static void read(const json& in, base::RawId& id) {
        std::string text;
        read(in, text);
        const auto bytes = base::from_hex(text);
        if (!bytes || bytes->size() != id.size()) throw Malformed{};
        std::copy(bytes->begin(), bytes->end(), id.begin());
    }
    static void read(const json& in, GrantState& state) {
        std::string text;
        read(in, text);
        const auto parsed = parse_grant_state(text);
        if (!parsed) throw Malformed{};
        state = *parsed;
    }
    template <class Enum>
        requires std::is_enum_v<Enum>
    static void read(const json& in, Enum& value) {
        std::string text;
        read(in, text);
        for (const auto& each : names(value)) {
            if (each.name != text) continue;
            value = each.value;
            return;
        }
        throw Malformed{};
    }
    template <class T>
    static void read(const json& in, std::optional<T>& value) {
        read(in, value.emplace());
    }
    template <class T>
    static void read(const json& in, std::vector<T>& values) {
        if (!in.is_array()) throw Malformed{};
        for (const auto& each : in) read(each, values.emplace_back());
    }
    template <class T>
        requires requires(T& object, Reader& reader) { members(object, reader); }
    static void read(const json& in, T& object) {
        Reader reader(in);
        members(object, reader);
        reader.finish();
    }

    const json& in_;
    std::size_t taken_ = 0;
};

template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, RefreshAttempt>
void members(T& attempt, Visit& visit) {
    visit("id", attempt.id);
    visit("parent_gen", attempt.parent_gen);
    visit("started_at", attempt.started_at);
    visit("lease_until", attempt.lease_until);
    visit("retry_of", attempt.retry_of);
}
template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, UnresolvedAttempt>
void members(T& attempt, Visit& visit) {
    visit("id", attempt.id);
    visit("started_at", attempt.started_at);
}
template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, StepUp>
void members(T& step_up, Visit& visit) {
    visit("operation", step_up.operation);
    visit("scopes", step_up.scopes);
    visit("attempts", step_up.attempts);
    bool satisfied = !step_up.pending;
    visit("satisfied", satisfied);
    if constexpr (!std::is_const_v<T>) step_up.pending = !satisfied;
}
template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, ClaimsDemand>
void members(T& demand, Visit& visit) {
    visit("claims", demand.claims);
    visit("at", demand.at);
    visit("met", demand.met);
}
template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, Introspected>
void members(T& introspected, Visit& visit) {
    visit("at", introspected.at);
    visit("active", introspected.active);
}
template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, GrantFacts>
void members(T& facts, Visit& visit) {
    visit("state", facts.state);
    visit("resume_to", facts.resume_to);
    visit("reason", facts.reason);
    visit("epoch", facts.epoch);
    visit("gen", facts.gen);
    visit("attempt", facts.attempt);
    visit("unresolved", facts.unresolved);
    visit("fail_count", facts.fail_count);
    visit("cooldown_until", facts.cooldown_until);
    visit("cooldown_since", facts.cooldown_since);
    visit("obtained_at", facts.obtained_at);
    visit("expires_at", facts.expires_at);
    visit("granted_at", facts.granted_at);
    visit("renewable", facts.renewable);
    visit("reuse", facts.reuse);
    visit("reuse_grace", facts.reuse_grace);
    visit("old_access_token", facts.old_access_token);
    visit("scopes_requested", facts.scopes_requested);
    visit("step_ups", facts.step_ups);
    visit("degraded", facts.degraded);
    visit("expiry_warned", facts.expiry_warned);
    visit("end_warned", facts.end_warned);
    visit("reauth_told_epoch", facts.reauth_told_epoch);
    visit("seed", facts.seed);
}
template <class T, class Visit>
    requires std::same_as<std::remove_const_t<T>, StoredGrant>
void members(T& grant, Visit& visit) {
    members(grant.facts, visit);
    visit("lifetime", grant.lifetime);
    visit("unrecognized_count", grant.unrecognized.count);
    visit("unrecognized_first_at", grant.unrecognized.first_at);
    visit("refresh_expires_at", grant.refresh_expires_at);
    visit("scopes_granted", grant.scopes_granted);
    visit("provider", grant.provider);
    visit("issuer", grant.issuer);
    visit("revocation_endpoint", grant.revocation_endpoint);
    visit("claims", grant.claims);
    visit("introspected", grant.introspected);
    visit("account", grant.account);
    visit("act_chain", grant.act_chain);
}

}  // namespace

std::string encode(const StoredGrant& grant) {
    Writer writer;
    members(grant, writer);
    return writer.out.dump();
}

base::Result<StoredGrant> decode_stored_grant(std::string_view text) {
    const auto malformed = [] {
        return base::failure(base::ErrorKind::corrupt, "grant.malformed",
                             "What is stored of this grant cannot be read.",
                             "Connect the credential again, or put new tokens into it.");
    };
    const auto in = parse_object(text, {.bytes = 256 * 1024, .depth = 8});
    if (!in) return malformed();
    StoredGrant grant;
    try {
        Reader reader(*in);
        members(grant, reader);
        reader.finish();
    } catch (const Malformed&) {
        return malformed();
    }
    return grant;
}

bool can_refresh(const vault::Credential& credential) {
    return credential.refresh && credential.refresh->grant != "none";
}

StoredGrant handed_over(const vault::Credential& credential, const StoredGrant* before, base::Time now) {
    StoredGrant grant;
    if (before != nullptr) {
        grant.provider = before->provider;
        grant.issuer = before->issuer;
        grant.revocation_endpoint = before->revocation_endpoint;
        grant.facts.epoch = before->facts.epoch;
        grant.facts.reuse = before->facts.reuse;
        grant.facts.reuse_grace = before->facts.reuse_grace;
        grant.facts.old_access_token = before->facts.old_access_token;
    }
    grant.facts.seed = jitter_seed(credential.id.text(), 0);
    if (credential.refresh && credential.refresh->scope)
        grant.facts.scopes_requested = split_scopes(*credential.refresh->scope);
    grant.facts.epoch += 1;
    grant.facts.gen = 1;
    grant.facts.state = GrantState::ready;
    grant.facts.obtained_at = grant.facts.granted_at = now;
    grant.facts.renewable = can_refresh(credential);
    // Without a refresh token a date in the past says nothing: the server has the last word.
    if (grant.facts.renewable || (credential.expires && *credential.expires > now))
        grant.facts.expires_at = credential.expires;
    if (grant.facts.expires_at) grant.lifetime = LifetimeSource::response;
    if (before != nullptr && before->facts.state == GrantState::suspended) {
        grant.facts.resume_to = grant.facts.state;
        grant.facts.state = GrantState::suspended;
    }
    return grant;
}

base::Result<StoredGrant> grant_of(const vault::Catalog& catalog, const vault::Credential& credential) {
    if (const auto row = catalog.find<vault::Grant>(credential.id)) return decode_stored_grant(row->facts);
    return handed_over(credential, nullptr, credential.value_created);
}

base::Status store_grant(vault::Change& change, const vault::Credential& credential,
                         const StoredGrant& grant) {
    constexpr std::size_t most = 200 * 1024;  // less than decode_stored_grant() reads
    vault::Grant row;
    if (const auto before = change.catalog().find<vault::Grant>(credential.id)) row = *before;
    row.id = credential.id;
    row.workspace = credential.workspace;
    row.vault = credential.vault;
    row.facts = encode(grant);
    if (row.facts.size() > most)
        return base::failure(base::ErrorKind::invalid_request, "grant.too_large",
                             "There is too much to remember about this grant.",
                             "Connect it again; a server asked for very many scopes.");
    row.updated = change.now();
    return change.store(std::move(row));
}

}  // namespace claviger::oauth
