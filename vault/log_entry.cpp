#include "vault/log_entry.h"

#include <algorithm>
#include <type_traits>

namespace claviger::vault {
namespace {

using base::Bytes;
using base::ByteView;

// The number of a reason is its place in this list, counted from 1. On disk: append only.
constexpr std::string_view kReasonCodes[] = {
    "policy.denied",
    "policy.tool_not_enabled",
    "policy.needs_approval",
    "policy.no_rule",
    "cursor.unknown",
    "policy.host_blocked",
    "policy.method_not_allowed",
    "policy.arguments_invalid",
    "credential.not_found",
    "credential.vault_not_bound",
    "credential.archived",
    "credential.tool_not_allowed",
    "state.unknown",
    "server.unknown",
    "session.token_unknown",
    "session.token_expired",
    "session.terminated",
    "environment.archived",
    "request.invalid",
    "request.header_mismatch",
    "upstream.unreachable",
    "upstream.tls",
    "upstream.timeout",
    "upstream.closed",
    "upstream.invalid",
    "upstream.cancelled",
    "upstream.busy",
    "upstream.redirect",
    "upstream.unauthorized",
    "upstream.forbidden",
    "network.private_address",
    "envelope.refused",
    "client.gone",
    "log.not_durable",
    "internal",
    "upstream.failed",
    "upstream.event_too_long",
    "upstream.request_invalid",
    "session.unknown",
    "task.unknown",
    "credential.not_sendable",
    "credential.no_secret",
    "grant.transient",
    "grant.needs_reauth",
    "grant.needs_config",
    "grant.uncertain",
    "grant.superseded",
    "grant.refresh_outcome_lost",
    "connect.denied",
    "connect.refused",
    "connect.wrong_issuer",
    "connect.no_issuer",
    "connect.other_account",
    "connect.unusable_answer",
    "connect.outcome_unknown",
    "connect.client_refused",
    "connect.expired",
    "connect.discovery",
    "connect.target_gone",
    "webhook.refused",
    "webhook.disabled",
    "webhook.secret_refused",
    "webhook.url",
    "grant.revocation_incomplete",
    "grant.revocation_refused",
    "grant.revocation_unknown_endpoint",
    "grant.suspended",
    "grant.refreshing",
    "grant.not_connected",
    "grant.malformed",
    "upstream.insufficient_scope",
    "grant.revocation_unsupported",
    "grant.resumed",
    "grant.exchanged",
    "grant.exchanged_as_actor",
    "grant.journal_unavailable",
    "grant.revoked_upstream",
    "credential.retired",
    "server.stopping",
};

template <class Enum>
constexpr Enum kLast{};
template <>
constexpr EntryKind kLast<EntryKind> = EntryKind::sink;
template <>
constexpr Verdict kLast<Verdict> = Verdict::denied;
template <>
constexpr ObjectKind kLast<ObjectKind> = ObjectKind::operation;
template <>
constexpr Action kLast<Action> = Action::introspect;
template <>
constexpr ActorKind kLast<ActorKind> = ActorKind::session;

enum class Presence { always, unless_zero };

/// The one list of fields, in tag order. On disk: tags are never reused, new ones are appended.
template <class Entry, class Visit>
void each_field(Entry& entry, Visit&& visit) {
    visit(1, entry.position, Presence::always);
    visit(2, entry.time, Presence::always);
    visit(3, entry.kind, Presence::always);
    visit(4, entry.action, Presence::unless_zero);
    visit(5, entry.verdict, Presence::unless_zero);
    visit(6, entry.reason, Presence::unless_zero);
    visit(7, entry.actor, Presence::unless_zero);
    visit(8, entry.actor_id, Presence::unless_zero);
    visit(9, entry.workspace, Presence::unless_zero);
    visit(10, entry.environment, Presence::unless_zero);
    visit(11, entry.agent, Presence::unless_zero);
    visit(12, entry.session, Presence::unless_zero);
    visit(13, entry.vault, Presence::unless_zero);
    visit(14, entry.credential, Presence::unless_zero);
    visit(15, entry.credential_version, Presence::unless_zero);
    visit(16, entry.object, Presence::unless_zero);
    visit(17, entry.object_id, Presence::unless_zero);
    visit(18, entry.server, Presence::unless_zero);
    visit(19, entry.tool, Presence::unless_zero);
    visit(20, entry.method, Presence::unless_zero);
    visit(21, entry.source, Presence::unless_zero);
    visit(22, entry.request_digest, Presence::unless_zero);
    visit(23, entry.intent, Presence::unless_zero);
    visit(24, entry.status, Presence::unless_zero);
    visit(25, entry.request_bytes, Presence::unless_zero);
    visit(26, entry.response_bytes, Presence::unless_zero);
    visit(27, entry.duration_us, Presence::unless_zero);
    visit(28, entry.redactions, Presence::unless_zero);
}
constexpr std::size_t kMaxEntryBytes = 28 + sizeof(LogEntry);

template <class Field>
constexpr std::size_t kWidth = std::is_same_v<Field, base::Time> ? 8 : sizeof(Field);

/// Writes the field's bytes; returns where the next one goes.
template <class Field>
char* write_field(char* at, const Field& field) {
    if constexpr (std::is_same_v<Field, base::Time>) {
        return write_field(at, static_cast<std::uint64_t>(field.time_since_epoch().count()));
    } else if constexpr (std::is_enum_v<Field>) {
        return write_field(at, static_cast<std::underlying_type_t<Field>>(field));
    } else if constexpr (std::is_integral_v<Field>) {
        for (std::size_t left = sizeof(Field); left-- > 0;)
            *at++ = static_cast<char>((field >> (8 * left)) & 0xff);
        return at;
    } else {
        std::copy(field.begin(), field.end(), at);
        return at + field.size();
    }
}

/// False when the bytes are no value of the field.
template <class Field>
bool read_field(const char* at, Field& field) {
    if constexpr (std::is_same_v<Field, base::Time>) {
        const auto ms = base::read_big_endian<std::uint64_t>(at);
        field = base::Time(std::chrono::milliseconds(static_cast<std::int64_t>(ms)));
        return ms <= INT64_MAX;
    } else if constexpr (std::is_enum_v<Field>) {
        field = static_cast<Field>(static_cast<unsigned char>(*at));
        return field <= kLast<Field>;
    } else if constexpr (std::is_integral_v<Field>) {
        field = base::read_big_endian<Field>(at);
        return true;
    } else {
        std::copy_n(at, field.size(), field.begin());
        return true;
    }
}

std::unexpected<base::Error> malformed(std::string detail) {
    return base::failure(base::ErrorKind::corrupt, "log.entry_malformed",
                         "An entry of the access log cannot be read.",
                         "It was written by a newer version, or the store is damaged.", std::move(detail));
}

}  // namespace

Bytes encode(const LogEntry& entry) {
    char buffer[kMaxEntryBytes];
    char* at = buffer;
    each_field(entry, [&]<class Field>(int tag, const Field& field, Presence presence) {
        if (presence == Presence::unless_zero && field == Field{}) return;
        *at++ = static_cast<char>(tag);
        at = write_field(at, field);
    });
    return Bytes(buffer, at);
}

base::Result<LogEntry> decode_log_entry(ByteView bytes) {
    LogEntry entry;
    int wrong = 0;
    each_field(entry, [&]<class Field>(int tag, Field& field, Presence presence) {
        if (wrong != 0) return;
        if (bytes.empty() || bytes[0] != static_cast<char>(tag)) {
            if (presence == Presence::always) wrong = tag;
            return;
        }
        if (bytes.size() < 1 + kWidth<Field> || !read_field(bytes.data() + 1, field) ||
            (presence == Presence::unless_zero && field == Field{})) {
            wrong = tag;
            return;
        }
        bytes.remove_prefix(1 + kWidth<Field>);
    });
    if (wrong != 0)
        return malformed("field " + std::to_string(wrong) + " is missing, cut short or out of range");
    if (entry.kind < EntryKind::use_intent) return malformed("an entry of no kind");
    if (!bytes.empty())
        return malformed("an unknown or misplaced field " +
                         std::to_string(static_cast<unsigned char>(bytes[0])));
    return entry;
}

std::uint16_t reason_number(std::string_view code) {
    if (code.empty()) return 0;  // most entries: nothing went wrong
    const auto found = std::ranges::find(kReasonCodes, code);
    return found == std::end(kReasonCodes) ? 0
                                           : static_cast<std::uint16_t>(found - std::begin(kReasonCodes) + 1);
}

std::string_view reason_code(std::uint16_t number) {
    return number == 0 || number > std::size(kReasonCodes) ? std::string_view() : kReasonCodes[number - 1];
}

std::string_view name_of(EntryKind kind) {
    switch (kind) {
        case EntryKind::use_intent:
            return "use_intent";
        case EntryKind::use_outcome:
            return "use_outcome";
        case EntryKind::deny:
            return "deny";
        case EntryKind::write:
            return "write";
        case EntryKind::rotate:
            return "rotate";
        case EntryKind::grant:
            return "grant";
        case EntryKind::approval:
            return "approval";
        case EntryKind::seal:
            return "seal";
        case EntryKind::admin:
            return "admin";
        case EntryKind::sink:
            return "sink";
    }
    return "";
}

std::string_view name_of(Action action) {
    switch (action) {
        case Action::none:
            return "";
        case Action::call:
            return "call";
        case Action::create:
            return "create";
        case Action::update:
            return "update";
        case Action::archive:
            return "archive";
        case Action::erase:
            return "erase";
        case Action::revoke:
            return "revoke";
        case Action::validate:
            return "validate";
        case Action::unseal:
            return "unseal";
        case Action::start:
            return "start";
        case Action::stop:
            return "stop";
        case Action::initialise:
            return "initialise";
        case Action::read_log:
            return "read_log";
        case Action::refresh:
            return "refresh";
        case Action::refreshed:
            return "refreshed";
        case Action::refresh_failed:
            return "refresh_failed";
        case Action::connect:
            return "connect";
        case Action::deliver:
            return "deliver";
        case Action::drill:
            return "drill";
        case Action::stage:
            return "stage";
        case Action::promote:
            return "promote";
        case Action::roll_back:
            return "roll_back";
        case Action::retire:
            return "retire";
        case Action::remind:
            return "remind";
        case Action::pin:
            return "pin";
        case Action::accept_pin:
            return "accept_pin";
        case Action::back_up:
            return "back_up";
        case Action::restore:
            return "restore";
        case Action::unfence:
            return "unfence";
        case Action::shred:
            return "shred";
        case Action::rewrap:
            return "rewrap";
        case Action::pause:
            return "pause";
        case Action::resume:
            return "resume";
        case Action::introspect:
            return "introspect";
    }
    return "";
}

std::string_view name_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::none:
            return "";
        case Verdict::allowed:
            return "allowed";
        case Verdict::denied:
            return "denied";
    }
    return "";
}

std::string_view name_of(ObjectKind object) {
    switch (object) {
        case ObjectKind::none:
            return "";
        case ObjectKind::instance:
            return "instance";
        case ObjectKind::workspace:
            return "workspace";
        case ObjectKind::api_key:
            return "api_key";
        case ObjectKind::vault:
            return "vault";
        case ObjectKind::credential:
            return "credential";
        case ObjectKind::environment:
            return "environment";
        case ObjectKind::agent:
            return "agent";
        case ObjectKind::session:
            return "session";
        case ObjectKind::session_token:
            return "session_token";
        case ObjectKind::connect_link:
            return "connect_link";
        case ObjectKind::oauth_client:
            return "oauth_client";
        case ObjectKind::webhook_endpoint:
            return "webhook_endpoint";
        case ObjectKind::seal_slot:
            return "seal_slot";
        case ObjectKind::operation:
            return "operation";
    }
    return "";
}

std::string_view name_of(ActorKind actor) {
    switch (actor) {
        case ActorKind::system:
            return "system";
        case ActorKind::api_key:
            return "api_key";
        case ActorKind::session:
            return "session";
    }
    return "";
}

}  // namespace claviger::vault
