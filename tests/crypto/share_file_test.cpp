// What holders keep: a text that survives typing, and errors that name the holder.
#include "crypto/share_file.h"

#include "crypto/seal_slot.h"
#include "tests/crypto/vectors.h"

using namespace claviger;
using namespace claviger::crypto;

namespace {

const std::vector<std::string> kHolders{"alice", "bob", "Carol Möller", "dave", "erin"};

ShareFile copy(const ShareFile& file) {
    ShareFile out{file.instance, file.set,    file.threshold,
                  file.count,    file.holder, {file.share.number, key_of(bytes_of(file.share.value))}};
    return out;
}

struct Ceremony {
    base::RawId instance = array_of<base::RawId>(run(0x10, 16));
    DealtSlot slot = deal_slot(instance, kHolders, 3).value();
    ShareSet set = share_set_of(instance, slot.parameters);
    ShareFile file(unsigned number) const { return copy(slot.files[number - 1]); }
};

base::Result<ShareFile> parsed(std::string_view text) { return parse_share(Secret::copy_of(text)); }

std::string_view code_of(const base::Status& status) { return status ? "(good)" : status.error().code; }

}  // namespace

TEST_CASE("The text of a share is that of an independent implementation", "[crypto][share]") {
    const ShareFile file{
        array_of<base::RawId>(run(0x10, 16)), array_of<base::RawId>(run(0x40, 16)), 3, 5, "bob",
        {2, key_of(golden("shamir.share.2"))}};
    const auto text = bytes_of(share_text(file));
    CHECK(text == "# Share 2 of 5, kept by bob; any 3 open the store. Keep it secret.\n" +
                      golden("share.line.2") + "\n");
    const auto back = parsed(golden("share.line.2"));
    REQUIRE(back);
    CHECK(back->holder == "bob");
    CHECK(back->share.number == 2);
    CHECK(back->threshold == 3);
    CHECK(back->count == 5);
    CHECK(back->instance == file.instance);
    CHECK(back->set == file.set);
    CHECK(back->share.value == file.share.value);
}

TEST_CASE("A share is read as people type it", "[crypto][share]") {
    const Ceremony ceremony;
    const auto text = bytes_of(share_text(ceremony.slot.files[2]));
    const auto line = text.substr(text.find('\n') + 1);
    std::string shouted, spaced, mistaken, wrapped;
    for (const char c : line) shouted.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c);
    for (const char c : line.substr(14)) {
        spaced.append(c == '-' ? "  " : std::string(1, c));
        mistaken.push_back(c == '0' ? 'O' : c == '1' ? 'l' : c);
    }
    wrapped = line;
    wrapped.insert(wrapped.size() / 2, "\r\n  ");
    for (const auto& typed : {text, line, shouted, "claviger-share " + spaced, "claviger-share" + mistaken,
                              wrapped, "\n# a note of my own\n" + line + "\n\n"}) {
        INFO(typed);
        const auto back = parsed(typed);
        REQUIRE(back);
        CHECK(back->holder == "Carol Möller");
        CHECK(examine(ceremony.set, *back));
    }
}

TEST_CASE("Any flipped bit of a share is damage, and the holder is named where he can be read",
          "[crypto][share]") {
    const auto line = golden("share.line.2");
    constexpr std::string_view alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    std::size_t named = 0;
    for (std::size_t at = 15; at < line.size(); ++at) {
        if (line[at] == '-') continue;
        for (unsigned bit = 0; bit < 5; ++bit) {
            auto changed = line;
            changed[at] = alphabet[alphabet.find(line[at]) ^ (1U << bit)];
            const auto refused = parsed(changed);
            INFO(at << " bit " << bit);
            REQUIRE_FALSE(refused);
            const auto& error = refused.error();
            REQUIRE((error.code == "share.damaged" || error.code == "share.version" ||
                     error.code == "share.malformed"));
            if (error.code == "share.damaged" && error.message.find(" of bob ") != std::string::npos) ++named;
        }
    }
    CHECK(named > 400);
}

TEST_CASE("Two letters that changed places are noticed, and so is a share cut short", "[crypto][share]") {
    const auto line = golden("share.line.2");
    auto swapped = line;
    std::swap(swapped[30], swapped[34]);
    REQUIRE(swapped != line);
    CHECK(parsed(swapped).error().code == "share.damaged");
    for (std::size_t size = 0; size < line.size(); ++size) REQUIRE_FALSE(parsed(line.substr(0, size)));
    CHECK(parsed("").error().code == "share.malformed");
    CHECK(parsed("hello").error().code == "share.malformed");
    CHECK(parsed("claviger-share").error().code == "share.malformed");
    CHECK(parsed(line + " extra words").error().code == "share.malformed");
    CHECK(parsed(line + line.substr(14)).error().code == "share.malformed");
    CHECK(parsed(std::string(5000, '#')).error().code == "share.malformed");
    auto later = line;
    later[16] = '8';  // the version's lower bits
    CHECK(parsed(later).error().code == "share.version");
}

TEST_CASE("Each way in which a share can be wrong is its own error and names the holder", "[crypto][share]") {
    const Ceremony ceremony, other;
    CHECK(examine(ceremony.set, ceremony.file(2)));

    auto renumbered = ceremony.file(2);
    renumbered.share.number = 4;
    auto altered = ceremony.file(2);
    altered.share.value = key_of(bytes_of(ceremony.slot.files[0].share.value).replace(0, 1, "x"));
    auto other_store = ceremony.file(2);
    other_store.instance[3] ^= 1;
    auto beyond = ceremony.file(2);
    beyond.share.number = 9;
    const std::tuple<const char*, ShareFile, const char*, const char*> cases[] = {
        {"wrong number", std::move(renumbered), "share.wrong_number",
         "The share that says it is share 4, of dave is in truth share 2, of bob: its number was changed."},
        {"wrong value", std::move(altered), "share.refused",
         "Share 2, of bob, is not the one that was given out."},
        {"other store", std::move(other_store), "share.other_store",
         "The share of bob belongs to another store."},
        {"other set", other.file(2), "share.other_set",
         "The share of bob belongs to another set of shares of this store."},
        {"no such number", std::move(beyond), "share.wrong_number",
         "The share that says it is share 9 is in truth share 2, of bob: its number was changed."},
    };
    for (const auto& [what, file, code, message] : cases) {
        INFO(what);
        const auto status = examine(ceremony.set, file);
        REQUIRE_FALSE(status);
        CHECK(status.error().code == code);
        CHECK(status.error().message == message);
        CHECK_FALSE(status.error().hint.empty());
    }
}

TEST_CASE("Shares come one by one until there are enough", "[crypto][share]") {
    const Ceremony ceremony, other;
    SharesSoFar shares(ceremony.set);
    CHECK(shares.add(ceremony.file(5)));
    CHECK(shares.secret().error().code == "shares.too_few");
    CHECK(code_of(shares.add(ceremony.file(5))) == "share.duplicate");
    CHECK(code_of(shares.add(other.file(1))) == "share.other_set");
    CHECK(shares.add(ceremony.file(1)));
    CHECK(shares.have() == 2);
    CHECK_FALSE(shares.enough());
    CHECK(shares.given() == std::vector<std::string>{"share 5, of erin", "share 1, of alice"});
    CHECK(shares.add(ceremony.file(3)));
    REQUIRE(shares.enough());
    CHECK(identity_of_shares(shares.secret().value()).recipient() == ceremony.slot.parameters.recipient);
}

TEST_CASE("Holders have names, each his own", "[crypto][share]") {
    const base::RawId instance{};
    for (const auto& holders : {std::vector<std::string>{"alice", "alice"},
                                {"alice", ""},
                                {"alice", std::string(65, 'x')},
                                {"alice", "bo\nb"},
                                {"alice", " bob"}})
        CHECK(deal_slot(instance, holders, 2).error().code == "shares.holders");
    CHECK(deal_slot(instance, {"alice", "bob"}, 3).error().code == "shares.counts");
    CHECK(deal_slot(instance, std::vector<std::string>{}, 2).error().code == "shares.counts");
}
