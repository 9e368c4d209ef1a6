// JSON documents with secrets in them, of which no copy exists outside locked memory.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <utility>
#include <vector>

namespace claviger::admin::cli {

class SecretDocument {
public:
    /// Gives the text that stands for the secret in the skeleton until render(). Fails with "cli.usage" when
    /// the secret is not UTF-8 text: JSON could not carry it.
    base::Result<std::string> place(crypto::Secret secret);

    /// The skeleton's bytes with every placed secret in its place, escaped.
    crypto::Secret render(const nlohmann::json& skeleton) const;

private:
    std::vector<std::pair<std::string, crypto::Secret>> secrets_;
};

}  // namespace claviger::admin::cli
