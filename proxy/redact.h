// Takes the injected secret out of everything that comes back: plain, base64, hex, each of them also
// percent-encoded, JSON-escaped, or both, across chunk borders. What is found is masked with '*' of the same
// length, so framing and JSON stay intact.
#pragma once

#include "proxy/secret_forms.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// One answer's worth of redaction. Not thread safe.
class Redactor {
public:
    /// Shares the forms with other answers that the same secret went out for.
    explicit Redactor(std::shared_ptr<const SecretForms> forms);
    ~Redactor();
    Redactor(Redactor&&) noexcept;
    Redactor& operator=(Redactor&&) noexcept;

    /// Bytes of the body in order; the result may go to the agent now. Holds back only a tail that could
    /// still become a match (nothing at the end of an SSE event, because secrets hold no line ends). The
    /// result views `bytes` itself when nothing was held or found, else an internal buffer; valid until the
    /// next call.
    std::string_view pass(std::string_view bytes);
    /// The last bytes of the body, with what was held back before them; as pass(), but holds nothing back.
    std::string_view finish(std::string_view last);
    /// A complete text of its own, such as a header value: masked in place.
    void redact(std::string& text);

    /// How often something was masked.
    std::uint32_t hits() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::proxy
