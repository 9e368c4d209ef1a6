#include "crypto/token.h"

#include "crypto/random.h"

#define CRYPTOKI_GNU 1
#include <p11-kit/p11-kit.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <vector>

namespace claviger::crypto {
namespace {

using base::ErrorKind;

constexpr std::size_t kNonceBytes = 12, kTagBytes = 16;
constexpr std::size_t kWrapBytes = kNonceBytes + Key::kBytes + kTagBytes;

unsigned char* raw(std::span<const std::byte> bytes) {
    return const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
}

/// Modules are code of others with state of their own: one call at a time in the whole process.
std::mutex& modules_mutex() {
    static std::mutex mutex;
    return mutex;
}

std::unexpected<base::Error> failed(std::string doing, ck_rv_t why) {
    return base::failure(ErrorKind::unavailable, "token.failed", "The token failed at " + doing + ".",
                         "Check the token with its own tools, then try again.", p11_kit_strerror(why));
}

std::unexpected<base::Error> login_failed(ck_rv_t why) {
    if (why == CKR_PIN_LOCKED)
        return base::failure(ErrorKind::unavailable, "token.pin_locked",
                             "The token has locked the user's PIN after too many wrong ones.",
                             "The token's security officer sets a new PIN with the token's own tools.");
    if (why == CKR_PIN_INCORRECT || why == CKR_PIN_LEN_RANGE || why == CKR_PIN_INVALID)
        return base::failure(ErrorKind::invalid_request, "token.pin_refused", "The token refuses the PIN.",
                             "Check the PIN: after a few wrong ones most tokens lock themselves.");
    return failed("logging in", why);
}

std::unexpected<base::Error> key_missing(const std::string& label) {
    return base::failure(
        ErrorKind::unavailable, "token.key_missing",
        "The token '" + label + "' does not hold the key of this slot.",
        "Was it destroyed, or is this another token of that label? Open the store through another "
        "slot; then remove this one and add a new one.");
}

std::unexpected<base::Error> key_exists(const std::string& label, std::uint64_t epoch) {
    return base::failure(
        ErrorKind::conflict, "token.key_exists",
        "The token '" + label + "' holds a key for root key " + std::to_string(epoch) +
            " of this slot already.",
        "It may be needed to open an older copy of the store. Remove the slot and add it again "
        "to seal it with another key.");
}

/// The key's CKA_ID: slot and epoch, so that no two root keys share a token key.
std::array<unsigned char, 24> key_id(const base::RawId& slot, std::uint64_t epoch) {
    std::array<unsigned char, 24> id{};
    std::copy(slot.begin(), slot.end(), id.begin());
    for (std::size_t i = 0; i < 8; ++i) id[16 + i] = static_cast<unsigned char>(epoch >> (56 - 8 * i));
    return id;
}

std::string_view trimmed(const unsigned char* text, std::size_t size) {
    std::string_view view(reinterpret_cast<const char*>(text), size);
    while (view.ends_with(' ')) view.remove_suffix(1);
    return view;
}

}  // namespace

struct Token::Session {
    ~Session() {
        const std::scoped_lock lock(modules_mutex());
        if (open) module->C_CloseSession(handle);
        if (ready) p11_kit_module_finalize(module);
        if (module != nullptr) p11_kit_module_release(module);
    }

    base::Status load(const std::filesystem::path& path);
    base::Status find_token();
    base::Status log_in(const Secret& pin);
    base::Result<ck_object_handle_t> find(const base::RawId& slot, std::uint64_t epoch) const;
    base::Result<ck_object_handle_t> make(const base::RawId& slot, std::uint64_t epoch) const;

    CK_FUNCTION_LIST* module = nullptr;
    bool ready = false, open = false;
    std::string label;
    ck_slot_id_t slot = 0;
    ck_session_handle_t handle = 0;
};

base::Status Token::Session::load(const std::filesystem::path& path) {
    const auto missing = [&](const char* why) {
        return base::failure(ErrorKind::invalid_request, "token.module_missing",
                             "The PKCS#11 module " + path.string() + " cannot be loaded.",
                             "Check seal.pkcs11.module: it names the library of the token's maker, such as "
                             "/usr/lib/softhsm/libsofthsm2.so.",
                             why != nullptr ? why : "");
    };
    if (!path.is_absolute()) return missing("not an absolute path");
    module = p11_kit_module_load(path.c_str(), 0);
    if (module == nullptr) return missing(p11_kit_message());
    if (const auto why = p11_kit_module_initialize(module); why != CKR_OK)
        return missing(p11_kit_strerror(why));
    ready = true;
    return {};
}

base::Status Token::Session::find_token() {
    unsigned long count = 0;
    auto why = module->C_GetSlotList(1, nullptr, &count);
    std::vector<ck_slot_id_t> slots(count);
    if (why == CKR_OK && count > 0) why = module->C_GetSlotList(1, slots.data(), &count);
    if (why != CKR_OK) return failed("listing its slots", why);
    slots.resize(std::min<std::size_t>(count, slots.size()));
    std::string seen;
    for (const auto candidate : slots) {
        ck_token_info info{};
        if (module->C_GetTokenInfo(candidate, &info) != CKR_OK) continue;
        const auto name = trimmed(info.label, sizeof info.label);
        if (name == label) {
            slot = candidate;
            return {};
        }
        if (!name.empty()) seen += (seen.empty() ? "" : ", ") + std::string(name);
    }
    return base::failure(ErrorKind::invalid_request, "token.absent", "There is no token '" + label + "'.",
                         seen.empty()
                             ? "The module sees no token at all: is it plugged in, and may this user use it?"
                             : "The module sees: " + seen + ".");
}

base::Status Token::Session::log_in(const Secret& pin) {
    if (const auto why =
            module->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &handle);
        why != CKR_OK)
        return failed("opening a session", why);
    open = true;
    const auto why = pin.expose([&](std::span<const std::byte> bytes) {
        return module->C_Login(handle, CKU_USER, raw(bytes), bytes.size());
    });
    if (why != CKR_OK && why != CKR_USER_ALREADY_LOGGED_IN) return login_failed(why);
    return {};
}

base::Result<ck_object_handle_t> Token::Session::find(const base::RawId& slot_id, std::uint64_t epoch) const {
    auto id = key_id(slot_id, epoch);
    ck_object_class_t secret_key = CKO_SECRET_KEY;
    ck_attribute wanted[] = {{CKA_CLASS, &secret_key, sizeof secret_key}, {CKA_ID, id.data(), id.size()}};
    if (const auto why = module->C_FindObjectsInit(handle, wanted, std::size(wanted)); why != CKR_OK)
        return failed("looking for the key", why);
    ck_object_handle_t key = 0;
    unsigned long found = 0;
    const auto why = module->C_FindObjects(handle, &key, 1, &found);
    module->C_FindObjectsFinal(handle);
    if (why != CKR_OK) return failed("looking for the key", why);
    if (found == 0) return key_missing(label);
    return key;
}

base::Result<ck_object_handle_t> Token::Session::make(const base::RawId& slot_id, std::uint64_t epoch) const {
    auto id = key_id(slot_id, epoch);
    std::string name = "claviger " + base::to_hex({reinterpret_cast<const char*>(slot_id.data()), 4}) +
                       " epoch " + std::to_string(epoch);
    unsigned char yes = 1, no = 0;
    unsigned long length = Key::kBytes;
    ck_mechanism generate{CKM_AES_KEY_GEN, nullptr, 0};
    ck_attribute wanted[] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_PRIVATE, &yes, 1},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},
        {CKA_ENCRYPT, &yes, 1},
        {CKA_DECRYPT, &yes, 1},
        {CKA_WRAP, &no, 1},
        {CKA_UNWRAP, &no, 1},
        {CKA_VALUE_LEN, &length, sizeof length},
        {CKA_ID, id.data(), id.size()},
        {CKA_LABEL, name.data(), name.size()},
    };
    ck_object_handle_t key = 0;
    if (const auto why = module->C_GenerateKey(handle, &generate, wanted, std::size(wanted), &key);
        why != CKR_OK)
        return failed("making an AES-256 key", why);
    unsigned char never = 0;
    ck_attribute check{CKA_NEVER_EXTRACTABLE, &never, 1};
    if (module->C_GetAttributeValue(handle, key, &check, 1) != CKR_OK || never != 1) {
        module->C_DestroyObject(handle, key);
        return base::failure(ErrorKind::unavailable, "token.failed",
                             "The token does not promise that the key never leaves it.",
                             "Use a token that supports CKA_NEVER_EXTRACTABLE.");
    }
    return key;
}

Token::Token(std::unique_ptr<Session> session) : session_(std::move(session)) {}
Token::Token(Token&&) noexcept = default;
Token::~Token() = default;

base::Result<Token> Token::open(const std::filesystem::path& module, const std::string& label,
                                const Secret& pin) {
    auto session = std::make_unique<Session>();
    session->label = label;
    const auto opened = [&]() -> base::Status {
        const std::scoped_lock lock(modules_mutex());
        if (auto loaded = session->load(module); !loaded) return loaded;
        if (auto found = session->find_token(); !found) return found;
        return session->log_in(pin);
    }();
    if (!opened) return std::unexpected(opened.error());
    return Token(std::move(session));
}

base::Result<base::Bytes> Token::wrap(const base::RawId& slot, std::uint64_t epoch, const Place& place,
                                      const Key& root) {
    const std::scoped_lock lock(modules_mutex());
    auto key = session_->find(slot, epoch);
    if (key) return key_exists(session_->label, epoch);
    if (key.error().code == "token.key_missing") key = session_->make(slot, epoch);
    if (!key) return std::unexpected(std::move(key).error());
    base::Bytes wrapped(kWrapBytes, '\0');
    auto* const out = reinterpret_cast<unsigned char*>(wrapped.data());
    random_bytes(std::as_writable_bytes(std::span(wrapped.data(), kNonceBytes)));
    auto aad = aad_of(place);
    ck_gcm_params gcm{out, kNonceBytes, kNonceBytes * 8, raw(aad), aad.size(), kTagBytes * 8};
    ck_mechanism aes{CKM_AES_GCM, &gcm, sizeof gcm};
    if (const auto why = session_->module->C_EncryptInit(session_->handle, &aes, *key); why != CKR_OK)
        return failed("sealing the root key with AES-GCM", why);
    unsigned long written = kWrapBytes - kNonceBytes;
    const auto why = root.expose([&](std::span<const std::byte> bytes) {
        return session_->module->C_Encrypt(session_->handle, raw(bytes), bytes.size(), out + kNonceBytes,
                                           &written);
    });
    if (why != CKR_OK || written != kWrapBytes - kNonceBytes)
        return failed("sealing the root key with AES-GCM", why);
    return wrapped;
}

base::Result<Key> Token::unwrap(const base::RawId& slot, std::uint64_t epoch, const Place& place,
                                base::ByteView wrapped) {
    const auto refused = [] {
        return base::failure(ErrorKind::corrupt, "envelope.refused",
                             "The sealed root key does not open: it or the place it belongs to was changed.");
    };
    if (wrapped.size() != kWrapBytes) return refused();
    const std::scoped_lock lock(modules_mutex());
    const auto key = session_->find(slot, epoch);
    if (!key) return std::unexpected(key.error());
    auto* const in = raw(base::as_span(wrapped));
    auto aad = aad_of(place);
    ck_gcm_params gcm{in, kNonceBytes, kNonceBytes * 8, raw(aad), aad.size(), kTagBytes * 8};
    ck_mechanism aes{CKM_AES_GCM, &gcm, sizeof gcm};
    if (const auto why = session_->module->C_DecryptInit(session_->handle, &aes, *key); why != CKR_OK)
        return failed("opening the root key with AES-GCM", why);
    // Some tokens want room for the tag, too, and tell a wrong one in many ways; all of them mean the same.
    bool good = true;
    const auto opened = Secret::filled(wrapped.size() - kNonceBytes, [&](std::span<std::byte> out) {
        unsigned long written = out.size();
        good = session_->module->C_Decrypt(session_->handle, in + kNonceBytes, wrapped.size() - kNonceBytes,
                                           raw(out), &written) == CKR_OK &&
               written == Key::kBytes;
    });
    if (!good) return refused();
    return Key::from(opened.expose(
        [](std::span<const std::byte> bytes) { return Secret::copy_of(bytes.first(Key::kBytes)); }));
}

base::Status Token::destroy(const base::RawId& slot, std::uint64_t epoch) {
    const std::scoped_lock lock(modules_mutex());
    const auto key = session_->find(slot, epoch);
    if (!key && key.error().code == "token.key_missing") return {};
    if (!key) return std::unexpected(key.error());
    if (const auto why = session_->module->C_DestroyObject(session_->handle, *key); why != CKR_OK)
        return failed("destroying the key", why);
    return {};
}

}  // namespace claviger::crypto
