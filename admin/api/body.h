// A request body as JSON, without its secrets: those go from the parser straight into locked memory.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string_view>

namespace claviger::admin::api {

/// Thrown away with the request. Move only.
class Body {
public:
    static constexpr std::size_t kBytes = 1 << 20;
    static constexpr std::size_t kDepth = 32;

    /// An empty body counts as {}. Errors, all invalid_request: "json.invalid", "json.too_deep",
    /// "json.duplicate_key", "body.not_an_object". No message repeats a value.
    static base::Result<Body> parse(std::string_view text);

    Body(Body&&) noexcept;
    Body& operator=(Body&&) noexcept;
    ~Body();

    /// What was read wrong, or the first member that nobody read: every member of every object must have been
    /// asked for by the route, or it is refused as unknown. Call it when all is read.
    base::Status finish() const;

    struct State;  // body_state.h; for Fields

private:
    friend class Fields;
    explicit Body(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace claviger::admin::api
