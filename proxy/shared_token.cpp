#include "proxy/shared_token.h"

namespace claviger::proxy {

base::Result<std::shared_ptr<const OpenedToken>> SharedToken::open(const vault::Records& records) const {
    if (auto opened = opened_.lock()) return opened;
    auto secret = records.open_token(sealed_);
    if (!secret) return std::unexpected(std::move(secret).error());
    auto opened = std::make_shared<const OpenedToken>(std::move(*secret));
    opened_ = opened;
    return opened;
}

}  // namespace claviger::proxy
