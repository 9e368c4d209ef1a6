#include "tests/support/proxy_gateway.h"

#include "crypto/random.h"
#include "policy/server_url.h"
#include "tests/support/spec.h"

#include <future>
#include <map>
#include <stdexcept>

namespace claviger::test {
namespace {

RawUpstream::Script script_of(Echo& seen, Gateway::Answering answering) {
    return [&seen, answering = std::move(answering)](Peer& peer) {
        for (;;) {
            auto request = peer.request();
            if (request.empty()) return;
            seen.note(peer.number, request);
            const auto answer =
                answering ? answering(request) : json_answer(R"({"jsonrpc":"2.0","id":1,"result":{}})");
            peer.write(answer);
            if (answer.find("Content-Length") == answer.npos) return;  // ended by closing
        }
    };
}

/// Chunks joined; nullopt when the last one is missing.
std::optional<std::string> without_chunks(std::string_view body) {
    std::string joined;
    for (;;) {
        const auto line = body.find("\r\n");
        if (line == body.npos) return std::nullopt;
        const auto size = std::strtoull(std::string(body.substr(0, line)).c_str(), nullptr, 16);
        body.remove_prefix(line + 2);
        if (size == 0) return joined;
        if (body.size() < size + 2) return std::nullopt;
        joined += body.substr(0, size);
        body.remove_prefix(size + 2);
    }
}

}  // namespace

std::string AgentReply::field(std::string_view name) const {
    for (std::size_t at = head.find("\r\n"); at != head.npos;) {
        at += 2;
        const auto end = head.find("\r\n", at);
        const auto line = std::string_view(head).substr(at, end - at);
        const auto colon = line.find(": ");
        if (colon != line.npos && net::equal_ignoring_case(line.substr(0, colon), name))
            return std::string(line.substr(colon + 2));
        at = end;
    }
    return "(none)";
}

AgentReply read_reply(std::string_view raw) {
    AgentReply reply;
    reply.status = status_of(raw);
    const auto end = raw.find("\r\n\r\n");
    if (end == raw.npos) return reply;
    reply.head = raw.substr(0, end);
    reply.body = raw.substr(end + 4);
    if (reply.field("Transfer-Encoding") == "chunked") {
        auto joined = without_chunks(reply.body);
        reply.complete = joined.has_value();
        if (joined) reply.body = std::move(*joined);
    } else {
        const auto length = reply.field("Content-Length");
        reply.complete = length == "(none)" ? reply.body.empty() : std::stoull(length) == reply.body.size();
    }
    return reply;
}

std::string http_answer(std::string_view status, const FieldList& fields, std::string_view body) {
    std::string text =
        "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    for (const auto& [name, value] : fields) text += name + ": " + value + "\r\n";
    return text + "\r\n" + std::string(body);
}

std::string json_answer(std::string_view body, const FieldList& fields) {
    auto all = fields;
    all.emplace_back("Content-Type", "application/json");
    return http_answer("200 OK", all, body);
}

std::string sse_answer(std::string_view events) {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" +
           std::string(events);
}

std::string call_of(std::string_view tool, std::string_view more) {
    return R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":")" + std::string(tool) + "\"" +
           std::string(more) + "}}";
}

std::string modern_call_of(std::string_view tool) {
    return call_of(tool, R"(,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                         R"("io.modelcontextprotocol/clientCapabilities":{}})");
}

FieldList modern_fields(std::string_view method, std::string_view name) {
    FieldList fields{{"MCP-Protocol-Version", "2026-07-28"}, {"Mcp-Method", std::string(method)}};
    if (!name.empty()) fields.emplace_back("Mcp-Name", std::string(name));
    return fields;
}

Gateway::Gateway(Answering answering) : Gateway(script_of(seen, std::move(answering))) {}

Gateway::Gateway(RawUpstream::Script script, proxy::ProxySettings settings)
    : settings_(std::move(settings)), upstream_(std::move(script)) {
    std::vector<vault::SealInput> inputs;
    inputs.push_back(key_file());
    REQUIRE(vault::Records::initialise(engine, inputs, crypto::PassphraseStrength::only_for_tests, clock));
    auto keys = vault::KeyRing::unseal(engine, key_file());
    REQUIRE(keys);
    auto opened = vault::Records::open(disk, std::move(*keys), clock);
    REQUIRE(opened);
    records = std::move(*opened);
    make_objects();
    serve();
}

Gateway::~Gateway() {
    server_.reset();
    loop_.stop();
    endpoint_.reset();
    lanes_.clear();
    records.reset();
}

vault::Session Gateway::new_session() const {
    vault::Session made;
    made.id = crypto::random_id<base::SessionId>();
    made.workspace = vault.workspace;
    made.agent = agent;
    made.environment = environment.id;
    made.vaults = {vault.id};
    return made;
}

vault::SessionToken Gateway::new_token(const vault::Session& of, std::string_view text) const {
    vault::SessionToken made;
    made.id = crypto::random_id<base::SessionTokenId>();
    made.workspace = vault.workspace;
    made.session = of.id;
    made.hash = vault::token_hash(text);
    return made;
}

void Gateway::make_objects() {
    const auto url = "http://127.0.0.1:" + std::to_string(upstream_.port()) + "/mcp";
    const auto normal = policy::normalise_server_url(url);
    REQUIRE(normal);
    vault.id = crypto::random_id<base::VaultId>();
    vault.workspace = records->catalog().page<vault::Workspace>({}).front()->id;
    credential.id = crypto::random_id<base::CredentialId>();
    credential.workspace = vault.workspace;
    credential.vault = vault.id;
    credential.mcp_server_url = url;
    credential.normal_url = *normal;
    environment.id = crypto::random_id<base::EnvironmentId>();
    environment.workspace = vault.workspace;
    environment.name = "production";
    environment.vault_bindings = {vault.id};
    agent.id = crypto::random_id<base::AgentId>();
    agent.workspace = vault.workspace;
    agent.name = "ci-bot";
    agent.mcp_servers = {{"upstream", url, *normal}};
    agent.toolsets = {{.server = "upstream", .default_policy = base::ToolPolicy::always_allow}};
    agent.toolsets[0].configs = {
        {.name = "disabled", .enabled = false, .policy = base::ToolPolicy::always_allow},
        {.name = "asks", .enabled = true, .policy = base::ToolPolicy::always_ask}};
    session = new_session();
    token = crypto::random_token_text("clv_session_");
    session_token = new_token(session, token);

    change([this](vault::Change& now) -> base::Status {
        now.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::vault, vault.id.raw);
        now.create_key_of(vault.workspace.raw, vault.id.raw);
        vault::SecretParts parts;
        parts.token = crypto::Secret::copy_of(kSecret);
        for (auto stored :
             {now.store(vault), now.store_with_secret(credential, parts), now.store(environment),
              now.store(agent), now.store(session), now.store(session_token)})
            if (!stored) return stored;
        return {};
    });
    const auto& catalog = records->catalog();
    vault = *catalog.find<vault::Vault>(vault.id);
    credential = *catalog.find<vault::Credential>(credential.id);
    environment = *catalog.find<vault::Environment>(environment.id);
    session = *catalog.find<vault::Session>(session.id);
    session_token = *catalog.find<vault::SessionToken>(session_token.id);
}

std::string Gateway::open_session() {
    const auto made = new_session();
    auto text = crypto::random_token_text("clv_session_");
    store(made);
    store(new_token(made, text));
    return text;
}

void Gateway::serve() {
    lanes_.push_back(
        std::make_unique<proxy::Lane>(loop_.worker, *records, settings_, nullptr, net::ClientLimits{}));
    endpoint_ = std::make_unique<proxy::McpEndpoint>(lanes_, settings_, counters);
    server_ = std::make_unique<net::Server>(std::vector<net::Worker*>{&loop_.worker}, net::ServerLimits{},
                                            [this](const net::Request& request, net::ResponseWriter& writer) {
                                                return endpoint_->handle(request, writer);
                                            });
    REQUIRE(server_->listen("127.0.0.1", 0, nullptr));
}

void Gateway::change(const std::function<base::Status(vault::Change&)>& apply) {
    std::promise<base::Status> promise;
    auto answer = promise.get_future();
    records->change({}, apply, [&](base::Status status) { promise.set_value(std::move(status)); });
    const auto changed = answer.get();
    if (!changed) FAIL(changed.error().code << ": " << changed.error().message);
}

std::string Gateway::request_text(std::string_view method, std::string_view body, const FieldList& fields) {
    std::map<std::string, std::string> defaults{{"Host", "127.0.0.1"}, {"Authorization", "Bearer " + token}};
    std::string target = "/mcp/upstream";
    if (method == "POST") defaults["Content-Type"] = "application/json";
    std::string text;
    for (const auto& [name, value] : fields) {
        defaults.erase(name);
        if (name == ":path") {
            target = value;
        } else if (value != "(none)") {
            text += name + ": " + value + "\r\n";
        }
    }
    for (const auto& [name, value] : defaults) text += name + ": " + value + "\r\n";
    return std::string(method) + " " + target + " HTTP/1.1\r\n" + text +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

AgentReply Gateway::send(std::string_view method, std::string_view body, const FieldList& fields) {
    auto all = fields;
    all.emplace_back("Connection", "close");
    auto client = connect();
    // Thrown, because some call from a thread of their own, where Catch2 may assert nothing.
    if (!client.connected() || !client.send(request_text(method, body, all)))
        throw std::runtime_error("the gateway cannot be reached");
    return read_reply(client.rest());
}

std::vector<vault::LogEntry> Gateway::calls() const {
    std::vector<vault::LogEntry> found;
    for (std::uint64_t at = 0, end = records->ledger().head().size; at < end; ++at) {
        auto entry = records->ledger().read(at);
        REQUIRE(entry);
        if (entry->action == vault::Action::call) found.push_back(*entry);
    }
    return found;
}

std::vector<vault::LogEntry> Gateway::calls(std::size_t wanted) const {
    soon([&] { return calls().size() >= wanted; });
    auto found = calls();
    REQUIRE(found.size() == wanted);
    return found;
}

}  // namespace claviger::test
