// Shares as their holders keep them: a text that says where it belongs, and that shows damage.
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "crypto/shamir.h"

#include <string>
#include <string_view>
#include <vector>

namespace claviger::crypto {

/// A share with all that tells it from others.
struct ShareFile {
    base::RawId instance{};      // the store
    base::RawId set{};           // the seal slot whose shares these are
    std::uint8_t threshold = 0;  // shares that are needed
    std::uint8_t count = 0;      // shares that were given out
    std::string holder;          // who keeps it; at most kMaxHolderBytes
    Share share;
};

inline constexpr std::size_t kMaxHolderBytes = 64;

/// Whether people and programs can be called that: 1 to 64 bytes of printable text.
bool is_holder_name(std::string_view name);

/// Two lines: a comment for people, then the share in base32 with a checksum.
Secret share_text(const ShareFile& file);

/// Reads a share file or the bare line, also as typed by hand: case, spaces and hyphens do not matter.
/// invalid_request: "share.malformed" for what is no share, "share.version" for one of a later version,
/// "share.damaged" when the checksum does not hold; the message then names the holder as far as it can be
/// read.
base::Result<ShareFile> parse_share(const Secret& text);

/// A set of shares as the store knows it.
struct ShareSet {
    base::RawId instance{};
    base::RawId set{};
    std::vector<GroupPoint> commitments;  // as many as are needed
    std::vector<std::string> holders;     // of share 1, 2, …

    unsigned threshold() const { return static_cast<unsigned>(commitments.size()); }
    /// "share 2, of bob"
    std::string name_of(unsigned number) const;
};

/// Whether the share is one of the set. invalid_request: "share.other_store", "share.other_set",
/// "share.wrong_number" for a share that bears another's number, "share.refused" for any other value. The
/// message names the holder.
base::Status examine(const ShareSet& set, const ShareFile& file);

/// Shares of one set that come in one by one.
class SharesSoFar {
public:
    explicit SharesSoFar(ShareSet set) : set_(std::move(set)) {}

    const ShareSet& set() const { return set_; }
    /// invalid_request as examine(), and conflict "share.duplicate".
    base::Status add(ShareFile file);
    std::size_t have() const { return shares_.size(); }
    bool enough() const { return shares_.size() >= set_.commitments.size(); }
    /// Who gave theirs.
    std::vector<std::string> given() const;
    /// invalid_request "shares.too_few" until there are enough.
    base::Result<Key> secret() const { return combine(shares_, set_.commitments); }

private:
    ShareSet set_;
    std::vector<Share> shares_;
};

}  // namespace claviger::crypto
