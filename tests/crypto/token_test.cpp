// A root key sealed by a token, with SoftHSM2 as the token. Skipped where SoftHSM2 is not installed.
#include "crypto/token.h"

#include "tests/crypto/vectors.h"

#include <cstdlib>
#include <filesystem>

using namespace claviger;
using namespace claviger::crypto;

namespace {

const std::filesystem::path kModule = "/usr/lib/softhsm/libsofthsm2.so";
constexpr const char* kPin = "2468-user";

/// A folder with one initialised token, and SoftHSM2 pointed at it.
struct SoftToken {
    SoftToken() {
        char name[] = "/tmp/claviger-token-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        folder = name;
        std::filesystem::create_directory(folder / "tokens");
        std::ofstream(folder / "softhsm2.conf") << "directories.tokendir = " << (folder / "tokens").string()
                                                << "\nobjectstore.backend = file\nlog.level = ERROR\n";
        ::setenv("SOFTHSM2_CONF", (folder / "softhsm2.conf").c_str(), 1);
        const auto command =
            std::string("softhsm2-util --init-token --free --label vaultkeys --so-pin 13579-so --pin ") +
            kPin + " > /dev/null 2>&1";
        REQUIRE(std::system(command.c_str()) == 0);
    }
    ~SoftToken() { std::filesystem::remove_all(folder); }

    base::Result<Token> open(const std::string& label = "vaultkeys", std::string_view pin = kPin) const {
        return Token::open(kModule, label, Secret::copy_of(pin));
    }
    std::filesystem::path folder;
};

bool installed() {
    if (std::filesystem::exists(kModule)) return true;
    test::skipped("SoftHSM2 is not installed");
    return false;
}

template <class T>
std::string_view code_of(const base::Result<T>& result) {
    return result ? std::string_view("(good)") : result.error().code;
}

Place root_place(std::uint64_t epoch) {
    auto place = golden_place();
    place.type = ObjectType::root_key_in_slot;
    place.version = epoch;
    return place;
}

}  // namespace

TEST_CASE("A token gives the root key back, in another session and for its place only", "[crypto][token]") {
    if (!installed()) return;
    const SoftToken soft;
    const auto slot = array_of<base::RawId>(run(0x30, 16));
    const auto root = Key::generate();
    base::Bytes wrapped;
    {
        auto token = soft.open();
        INFO(code_of(token) << (token ? "" : token.error().detail));
        REQUIRE(token);
        wrapped = token->wrap(slot, 1, root_place(1), root).value();
        CHECK(wrapped.size() == 12 + 32 + 16);
        CHECK(code_of(token->wrap(slot, 1, root_place(1), Key::generate())) == "token.key_exists");
    }
    auto token = soft.open().value();
    const auto back = token.unwrap(slot, 1, root_place(1), wrapped);
    INFO((back ? "" : back.error().message + " " + back.error().detail));
    REQUIRE(back);
    CHECK(*back == root);
    auto changed = wrapped;
    changed[20] = static_cast<char>(changed[20] ^ 1);
    CHECK(code_of(token.unwrap(slot, 1, root_place(1), changed)) == "envelope.refused");
    CHECK(code_of(token.unwrap(slot, 1, root_place(2), wrapped)) == "envelope.refused");
    CHECK(code_of(token.unwrap(slot, 1, root_place(1), wrapped.substr(1))) == "envelope.refused");
    CHECK(code_of(token.unwrap(slot, 1, root_place(1), {})) == "envelope.refused");
    CHECK(token.unwrap(slot, 1, root_place(1), wrapped).value() ==
          root);  // a refusal leaves the session usable
}

TEST_CASE("Every root key epoch has a token key of its own, and a destroyed one is missed",
          "[crypto][token]") {
    if (!installed()) return;
    const SoftToken soft;
    const auto slot = array_of<base::RawId>(run(0x30, 16));
    const auto root = Key::generate();
    auto token = soft.open().value();
    const auto first = token.wrap(slot, 1, root_place(1), root).value();
    const auto second = token.wrap(slot, 2, root_place(1), root).value();
    CHECK(code_of(token.unwrap(slot, 2, root_place(1), first)) == "envelope.refused");
    const auto destroyed = token.destroy(slot, 1);
    INFO((destroyed ? "" : destroyed.error().message + " " + destroyed.error().detail));
    REQUIRE(destroyed);
    const auto gone = token.unwrap(slot, 1, root_place(1), first);
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == "token.key_missing");
    CHECK(gone.error().message == "The token 'vaultkeys' does not hold the key of this slot.");
    CHECK(token.unwrap(slot, 2, root_place(1), second).value() == root);
    CHECK(token.destroy(slot, 1));  // again: nothing is there
}

TEST_CASE("What is wrong with a token is said", "[crypto][token]") {
    if (!installed()) return;
    const SoftToken soft;
    const auto pin = Secret::copy_of(kPin);
    for (const char* module : {"/nowhere/libnone.so", "relative.so", "/etc/passwd"}) {
        const auto missing = Token::open(module, "vaultkeys", pin);
        REQUIRE_FALSE(missing);
        CHECK(missing.error().code == "token.module_missing");
        CHECK(missing.error().message.find(module) != std::string::npos);
    }
    const auto absent = soft.open("other");
    REQUIRE_FALSE(absent);
    CHECK(absent.error().code == "token.absent");
    CHECK(absent.error().hint == "The module sees: vaultkeys.");
    const auto refused = soft.open("vaultkeys", "not the PIN");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "token.pin_refused");
    CHECK(refused.error().message.find("not the PIN") == std::string::npos);
    CHECK(soft.open());
}
