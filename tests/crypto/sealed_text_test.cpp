// A text that a client holds for us comes back as it left, or counts for nothing.
#include "crypto/sealed_text.h"

#include "tests/crypto/in_child.h"
#include "tests/crypto/vectors.h"

using namespace claviger;
using namespace claviger::crypto;

TEST_CASE("A sealed text opens under its key and context only", "[crypto]") {
    const auto key = Key::generate();
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100}, kMaxSealedPlain}) {
        const auto plain = run(1, size);
        const auto text = seal_text(key, "cursor:vaults:wrkspc_1", plain);
        CHECK(text.size() <= kMaxSealedText);
        CHECK(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
              std::string::npos);
        CHECK(open_text(key, "cursor:vaults:wrkspc_1", text) == plain);
        CHECK_FALSE(open_text(key, "cursor:vaults:wrkspc_2", text));
        CHECK_FALSE(open_text(key, "", text));
        CHECK_FALSE(open_text(Key::generate(), "cursor:vaults:wrkspc_1", text));
    }
    CHECK(seal_text(key, "c", "same") != seal_text(key, "c", "same"));
}

TEST_CASE("A text sealed by an independent implementation opens", "[crypto]") {
    CHECK(open_text(key_of(run(0, 32)), "cursor:vaults", base::to_base64url(golden("sealed_text.token"))) ==
          "page 2");
}

TEST_CASE("A text that is sealed repeatably is the same each time, for one key and context", "[crypto]") {
    const auto key = key_of(run(0, 32));
    const auto text = seal_text_repeatably(key, "task:alice", "task-1");
    CHECK(text == base::to_base64url(golden("sealed_text.repeatable")));  // of an independent implementation
    CHECK(open_text(key, "task:alice", text) == "task-1");
    CHECK_FALSE(open_text(key, "task:bob", text));
    CHECK_FALSE(open_text(Key::generate(), "task:alice", text));
    // Neither the nonce nor anything behind it is shared by texts that differ at all.
    const auto nonce = text.substr(0, 32);
    for (const auto& other :
         {seal_text_repeatably(key, "task:alice", "task-2"), seal_text_repeatably(key, "task:bob", "task-1"),
          seal_text_repeatably(key, "task:alicet", "ask-1"),
          seal_text_repeatably(Key::generate(), "task:alice", "task-1")})
        CHECK(other.substr(0, 32) != nonce);
}

TEST_CASE("A sealed text with any character changed, cut or added counts for nothing", "[crypto]") {
    const auto key = Key::generate();
    const auto text = seal_text(key, "c", "page 2");
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto changed = text;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (open_text(key, "c", changed)) FAIL("opened with character " << i << " changed");
        if (open_text(key, "c", text.substr(0, i))) FAIL("opened with " << i << " characters");
    }
    CHECK_FALSE(open_text(key, "c", text + "A"));
    CHECK_FALSE(open_text(key, "c", text + "="));
    CHECK_FALSE(open_text(key, "c", "not base64 !"));
    CHECK_FALSE(open_text(key, "c", std::string(kMaxSealedText + 4, 'A')));
}

TEST_CASE("Sealing a text that is too long to come back ends the program", "[crypto]") {
    CHECK_FALSE(holds_in_child(
        [] { return !seal_text(Key::generate(), "c", std::string(kMaxSealedPlain + 1, 'x')).empty(); }));
}
