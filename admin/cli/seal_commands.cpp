#include "admin/cli/local_socket.h"
#include "admin/cli/seal_opening.h"
#include "admin/cli/secret_document.h"
#include "admin/cli/secret_input.h"
#include "crypto/age_file.h"
#include "vault/durable_file.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kSlots = "/v1/seal/slots";
constexpr std::size_t kShortestPassphrase = 12;

std::unexpected<base::Error> not_written(const std::string& file) {
    return usage("The file " + file + " cannot be created: " + std::strerror(errno) + ".",
                 "Name a file that does not exist yet, in a folder you may write to.");
}

/// New files that only their owner may read, durable before the server is told of what they open; removed
/// again unless they are kept.
class NewFiles {
public:
    NewFiles() = default;
    NewFiles(const NewFiles&) = delete;
    NewFiles& operator=(const NewFiles&) = delete;
    ~NewFiles() {
        for (const auto& file : files_) ::unlink(file.c_str());
    }

    base::Status write(const std::string& file, std::span<const std::byte> bytes) {
        if (!vault::create_file(file, base::as_view(bytes))) return not_written(file);
        files_.push_back(file);
        return {};
    }
    void keep() { files_.clear(); }

private:
    std::vector<std::string> files_;
};

base::Status keygen(Context& context) {
    const auto file = context.arguments.value("--out");
    const auto identity = crypto::Identity::generate();
    const auto public_key = identity.recipient().text();
    NewFiles files;
    const auto text = identity.text().expose([&](std::span<const std::byte> key) {
        const auto head = "# public key: " + public_key + "\n";
        return crypto::Secret::filled(head.size() + key.size() + 1, [&](std::span<std::byte> out) {
            std::ranges::copy(base::as_span(head), out.begin());
            std::ranges::copy(key, out.begin() + static_cast<std::ptrdiff_t>(head.size()));
            out.back() = std::byte{'\n'};
        });
    });
    const auto written =
        text.expose([&](std::span<const std::byte> bytes) { return files.write(*file, bytes); });
    if (!written) return written;
    files.keep();
    context.screen.done({{"identity_file", *file}, {"public_key", public_key}},
                        "Public key: " + public_key + "\nThe identity is in " + *file +
                            "; whoever has it opens what is sealed to the public key.");
    return {};
}

void show_seal(Context& context, const json& seal) {
    if (context.screen.json()) {
        context.screen.document(seal);
        return;
    }
    if (seal.contains("sealed"))
        context.screen.line(seal.value("sealed", false) ? "The store is sealed." : "The store is open.");
    context.screen.list({{"data", seal.value("slots", json::array())}},
                        {{"NAME", "/name"},
                         {"KIND", "/kind"},
                         {"EMERGENCY", "/emergency"},
                         {"VERIFIED", "/verified_at"},
                         {"HOLDERS", "/holders"},
                         {"ID", "/id"}},
                        "No seal slots.");
    for (const auto& set : seal.value("shares", json::array()))
        context.screen.line("Shares given: " + std::to_string(set.value("have", 0)) + " of " +
                            std::to_string(set.value("need", 0)) + " (" +
                            cell_text(set.value("given", json::array())) + ")");
    for (const auto& warning : seal.value("warnings", json::array()))
        context.screen.line("warning: " + cell_text(warning));
}

base::Status status(Context& context) {
    const auto socket = socket_of(context.arguments);
    if (!socket) return std::unexpected(socket.error());
    auto seal = *socket ? seal_at(**socket) : context.api.get(std::string(kSlots));
    if (!seal) return std::unexpected(std::move(seal).error());
    show_seal(context, *seal);
    return {};
}

base::Result<base::RawId> instance_of(const json& seal) {
    const auto instance = array_from_hex<base::RawId>(seal.value("instance", ""));
    if (!instance) return usage("The server did not say which store it has.");
    return *instance;
}

template <class Array>
std::string hex(const Array& bytes) {
    return base::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// "alice", or "alice=age1…" whose share is encrypted to that key.
struct Holder {
    std::string name;
    std::optional<crypto::Recipient> recipient;
};

base::Result<std::vector<Holder>> holders_of(const Arguments& arguments) {
    std::vector<Holder> holders;
    for (const auto& text : arguments.values("--holder")) {
        const auto at = text.find('=');
        Holder holder{text.substr(0, at), {}};
        if (at != std::string::npos) {
            holder.recipient = crypto::Recipient::parse(text.substr(at + 1));
            if (!holder.recipient)
                return usage("The public key of holder '" + holder.name + "' is none.",
                             "It is what `claviger seal keygen` or `age-keygen` shows: age1…");
        }
        holders.push_back(std::move(holder));
    }
    return holders;
}

/// A name for a file, without what folders and shells would take otherwise.
std::string file_name_of(const std::string& holder) {
    std::string name;
    for (const char c : holder) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        name.push_back(plain || (static_cast<unsigned char>(c) & 0x80) != 0 ? c : '-');
    }
    return name;
}

base::Status write_shares(const crypto::DealtSlot& slot, const std::vector<Holder>& holders,
                          const std::string& folder, NewFiles& files, json& written) {
    if (!vault::make_folders(folder)) return not_written(folder);
    for (std::size_t i = 0; i < holders.size(); ++i) {
        const auto text = crypto::share_text(slot.files[i]);
        auto name = folder + "/share-" + std::to_string(i + 1) + "-" + file_name_of(holders[i].name);
        base::Status done;
        if (holders[i].recipient) {
            name += ".age";
            const auto sealed = crypto::age_encrypt(*holders[i].recipient, text);
            if (!sealed) return std::unexpected(sealed.error());
            done = files.write(name, base::as_span(*sealed));
        } else {
            name += ".txt";
            done = text.expose([&](std::span<const std::byte> bytes) { return files.write(name, bytes); });
        }
        if (!done) return done;
        written.push_back(name);
    }
    return {};
}

/// Makes the slot's half of the request and what belongs to the operator alone.
base::Result<json> request_for(Context& context, NewFiles& files, json& share_files,
                               SecretDocument& secrets) {
    const auto& arguments = context.arguments;
    int ways = 0;
    for (const auto* flag : {"--recipient", "--holder", "--key-file", "--ask-passphrase", "--pkcs11"})
        ways += arguments.has(flag) ? 1 : 0;
    if (ways != 1)
        return usage(
            "One of --recipient, --holder, --key-file, --ask-passphrase and --pkcs11 says what opens the "
            "slot.");
    if (const auto recipient = arguments.value("--recipient"))
        return json{{"kind", "recipient"}, {"public_key", *recipient}};
    if (const auto token = arguments.value("--pkcs11")) return json{{"kind", "pkcs11"}, {"token", *token}};

    if (arguments.has("--holder")) {
        const auto holders = holders_of(arguments);
        if (!holders) return std::unexpected(holders.error());
        const auto threshold = arguments.number_or("--threshold", 0);
        if (!threshold) return std::unexpected(threshold.error());
        const auto folder = arguments.value("--out");
        if (*threshold == 0 || !folder)
            return usage("--threshold N and --out DIR are needed with --holder.",
                         "N holders together open the store; their shares are written into DIR.");
        const auto seal = context.api.get(std::string(kSlots));
        if (!seal) return std::unexpected(seal.error());
        const auto instance = instance_of(*seal);
        if (!instance) return std::unexpected(instance.error());
        std::vector<std::string> names;
        for (const auto& holder : *holders) names.push_back(holder.name);
        const auto dealt = crypto::deal_slot(*instance, names,
                                             static_cast<unsigned>(std::min<std::uint64_t>(*threshold, 255)));
        if (!dealt) return std::unexpected(dealt.error());
        if (auto written = write_shares(*dealt, *holders, *folder, files, share_files); !written)
            return std::unexpected(std::move(written).error());
        json commitments = json::array();
        for (const auto& point : dealt->parameters.commitments) commitments.push_back(hex(point));
        return json{{"kind", "shares"},
                    {"id", hex(dealt->parameters.slot)},
                    {"public_key", dealt->parameters.recipient.text()},
                    {"commitments", std::move(commitments)},
                    {"holders", names}};
    }

    const bool passphrase = arguments.has("--ask-passphrase");
    auto slot = passphrase ? crypto::fresh_passphrase_slot(crypto::PassphraseStrength::sensitive)
                           : crypto::fresh_key_file_slot();
    json request{{"kind", crypto::name_of(slot.kind)}, {"id", hex(slot.slot)}, {"salt", hex(slot.salt)}};
    base::Result<crypto::Secret> content = crypto::Secret::random(32);
    if (passphrase) {
        if (!arguments.has("--allow-passphrase"))
            return usage("A passphrase can be guessed by whoever has a copy of the disk.",
                         "Prefer --key-file, --holder or --pkcs11, or add --allow-passphrase.");
        content = read_secret(context.input, "Passphrase (not shown)", context.screen.err());
        if (content && content->size() < kShortestPassphrase)
            return usage("The passphrase is shorter than 12 characters.");
        request["ops_limit"] = slot.ops_limit;
        request["mem_limit_bytes"] = slot.mem_limit_bytes;
        request["allow_passphrase"] = true;
    } else {
        const auto file = *arguments.value("--key-file");
        if (std::filesystem::exists(file)) {
            content = read_key_file(file, context.screen.err());
        } else {
            const auto made =
                content->expose([&](std::span<const std::byte> bytes) { return files.write(file, bytes); });
            if (!made) return std::unexpected(made.error());
        }
        if (content) request["key_id"] = hex(crypto::key_file_id(*content));
    }
    if (!content) return std::unexpected(content.error());
    const auto key = crypto::slot_key(slot, *content);
    if (!key) return std::unexpected(key.error());
    request["opening_key"] = *secrets.place(text_of(*key));
    return request;
}

base::Status add(Context& context) {
    NewFiles files;
    json share_files = json::array();
    SecretDocument secrets;
    auto request = request_for(context, files, share_files, secrets);
    if (!request) return std::unexpected(std::move(request).error());
    (*request)["name"] = context.arguments.operands()[0];
    auto made = context.api.post(std::string(kSlots), secrets.render(*request));
    if (!made) return std::unexpected(std::move(made).error());
    files.keep();
    std::string sentence =
        "Added the seal slot '" + made->value("name", "") + "' (" + made->value("id", "") + ").";
    if (!share_files.empty()) {
        (*made)["share_files"] = share_files;
        sentence += "\nThe shares are in:";
        for (const auto& file : share_files) sentence += "\n  " + file.get<std::string>();
        sentence += "\nGive each to its holder, and keep none.";
    }
    sentence += "\nNext: claviger seal verify '" + made->value("name", "") +
                "' …, which proves that it opens the store.";
    context.screen.done(*made, sentence);
    return {};
}

enum class Purpose { verify, drill };

base::Status prove(Context& context, Purpose purpose) {
    const auto seal = context.api.get(std::string(kSlots));
    if (!seal) return std::unexpected(seal.error());
    const auto slot = slot_called(*seal, context.arguments.operands()[0]);
    if (!slot) return std::unexpected(slot.error());
    if (purpose == Purpose::drill && !slot->value("emergency", false))
        return usage("'" + slot->value("name", "") + "' is no emergency slot.",
                     "`claviger seal verify` tries it; drills are for shares and recipients.");
    json request{{"drill", purpose == Purpose::drill}};
    SecretDocument secrets;
    if (slot->value("kind", "") != "pkcs11") {
        const auto instance = instance_of(*seal);
        if (!instance) return std::unexpected(instance.error());
        const auto opening = opening_of(context, *instance, *slot);
        if (!opening) return std::unexpected(opening.error());
        request["opening_key"] = *secrets.place(text_of(*opening));
    }
    const auto answer = context.api.post(std::string(kSlots) + "/" + slot->value("id", "") + "/verify",
                                         secrets.render(request));
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer, "'" + answer->value("name", "") + "' opens the store" +
                                     (purpose == Purpose::drill ? ". The drill is on record." : "."));
    return {};
}

base::Status verify(Context& context) { return prove(context, Purpose::verify); }
base::Status drill(Context& context) { return prove(context, Purpose::drill); }

base::Status remove(Context& context) {
    const auto& wanted = context.arguments.operands()[0];
    if (auto sure = confirm_delete(context, "seal slot '" + wanted + "'"); !sure) return sure;
    const auto seal = context.api.get(std::string(kSlots));
    if (!seal) return std::unexpected(seal.error());
    const auto slot = slot_called(*seal, wanted);
    if (!slot) return std::unexpected(slot.error());
    const bool destroy = context.arguments.has("--destroy-token-key");
    const auto answer = context.api.erase(std::string(kSlots) + "/" + slot->value("id", "") +
                                          (destroy ? "?destroy_token_key=true" : ""));
    if (!answer) return std::unexpected(answer.error());
    auto sentence = "Removed the seal slot '" + slot->value("name", "") + "'. ";
    const auto problem = answer->value("problem", json());
    if (problem.is_object())
        sentence += "Its key in the token could not be destroyed: " + problem.value("message", "") + "\n" +
                    problem.value("hint", "");
    else
        sentence += destroy ? "Its keys in the token are destroyed: no backup opens with it any more."
                            : "Backups made before still open with it.";
    context.screen.done(*answer, sentence);
    return {};
}

}  // namespace

std::vector<Command> seal_commands() {
    const Operand slot{"SLOT", "name or id of the seal slot"};
    return {
        {"seal keygen",
         "Make a key pair for a holder or a recipient; age reads it, too.",
         {},
         {{"--out", "FILE", "write the identity into this new file (mode 600)", false, true},
          {"--json", "", "print JSON instead of text"}},
         "claviger seal keygen --out alice.key",
         keygen,
         false},
        {"seal status",
         "Show what opens the store, when it last did, and what is weak about that.",
         {},
         {{"--data", "DIR", "ask the local socket of this data folder, which also answers while sealed"},
          {"--socket", "FILE", "ask this local socket"}},
         "claviger seal status",
         status},
        {"seal add",
         "Add a way to open the store.",
         {{"NAME", "what people call the slot"}},
         {{"--recipient", "KEY", "whoever has the identity of this public key (age1…) opens the store"},
          {"--holder", "NAME[=KEY]", "holder of a share; with KEY (age1…) the share is encrypted to it",
           true},
          {"--threshold", "N", "with --holder: so many shares open the store"},
          {"--out", "DIR", "with --holder: where to write the shares"},
          {"--key-file", "FILE", "whoever has this file opens the store; made when it is missing"},
          {"--pkcs11", "LABEL", "a key in this PKCS#11 token; see seal.pkcs11 in the config"},
          {"--ask-passphrase", "", "ask for a passphrase"},
          {"--allow-passphrase", "", "with --ask-passphrase: yes, although it can be guessed"}},
         "claviger seal add quorum --holder alice=age1… --holder bob=age1… --holder carol --threshold 2 "
         "--out shares",
         add},
        {"seal verify",
         "Prove that a slot opens the store now.",
         {slot},
         opening_flags(),
         "claviger seal verify quorum --share alice.txt --share bob.age --identity bob.key",
         verify},
        {"seal drill",
         "Rehearse the emergency: the holders open their slot, and that is put on record.",
         {slot},
         opening_flags(),
         "claviger seal drill quorum --share alice.txt --share carol.txt",
         drill},
        {"seal remove",
         "Remove a slot; refused for the last one that opens the store, and the last emergency slot.",
         {slot},
         {{"--destroy-token-key", "", "of a PKCS#11 slot: destroy its keys in the token, too, for good"},
          yes_flag()},
         "claviger seal remove 'old key file' --yes",
         remove},
    };
}

}  // namespace claviger::admin::cli
