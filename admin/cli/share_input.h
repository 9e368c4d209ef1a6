// Holders' files on their way in: shares, and the identities that open them.
#pragma once

#include "base/result.h"
#include "crypto/recipient.h"
#include "crypto/secret.h"

#include <iosfwd>
#include <string>
#include <vector>

namespace claviger::admin::cli {

/// Where shares come from that are not in a file, and what opens those that are encrypted.
struct ShareSource {
    std::vector<std::string> identities;  // files
    int input;                            // file descriptor, for a share named "-"
    std::ostream& err;
};

base::Result<crypto::Identity> read_identity(const std::string& file, std::ostream& err);
/// The text of a share; "-" is read without echo; an encrypted file is opened with one of the identities.
/// Blocks. "cli.usage" when none of them opens it.
base::Result<crypto::Secret> read_share(const ShareSource& source, const std::string& file);

}  // namespace claviger::admin::cli
