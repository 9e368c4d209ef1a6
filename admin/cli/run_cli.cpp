#include "admin/cli/cli.h"

#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr int kDone = 0, kRefused = 1, kNotUnderstood = 2, kNotReachable = 3;

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name);  // NOLINT: nothing here changes the environment
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
}

int exit_code(const base::Error& error) {
    if (error.code == kUsageCode) return kNotUnderstood;
    if (error.code == kUnreachableCode) return kNotReachable;
    return kRefused;
}

bool wants_json(const std::vector<std::string>& args) {
    return std::ranges::find(args, "--json") != args.end();
}

base::Result<AdminClient> connect(const Arguments& arguments, std::ostream& err) {
    if (arguments.command().takes_common_flags && environment("CLAVIGER_API_KEY"))
        return usage(
            "CLAVIGER_API_KEY is set, but keys are not read from the environment: every child process and "
            "crash report would get a copy.",
            "Unset it, put the key into a file that only you can read, and name that file in "
            "CLAVIGER_API_KEY_FILE.");
    AdminClient::Settings settings;
    settings.url = arguments.value_or("--url", environment("CLAVIGER_URL").value_or("http://127.0.0.1:8701"));
    const auto home = environment("HOME").value_or(".");
    settings.api_key_file = arguments.value_or(
        "--api-key-file",
        environment("CLAVIGER_API_KEY_FILE").value_or(home + "/.config/claviger/admin.key"));
    if (const auto file = arguments.value("--ca-file")) settings.ca_file = *file;
    settings.workspace = arguments.value("--workspace");
    if (arguments.has("--insecure-http")) settings.plain_http = AdminClient::Settings::PlainHttp::anywhere;
    return AdminClient::with(std::move(settings), err);
}

}  // namespace

int fail(const base::Error& error, const std::vector<std::string>& args, std::ostream& err) {
    auto document = json::parse(error.detail, nullptr, false);  // what the server said, or words of a library
    const bool said = document.is_object();
    if (wants_json(args)) {
        if (!said)
            document = {{"type", "error"},
                        {"error", {{"type", error.code}, {"message", error.message}, {"hint", error.hint}}}};
        if (!said && !error.detail.empty()) document["error"]["detail"] = error.detail;
        err << document.dump(2, ' ', false, json::error_handler_t::replace) << std::endl;
    } else {
        err << "claviger: " << error.message << "\n";
        if (!error.hint.empty()) err << "  " << error.hint << "\n";
        if (!said && !error.detail.empty()) err << "  (" << error.code << ": " << error.detail << ")\n";
    }
    return exit_code(error);
}

int run_cli(const std::vector<std::string>& args, RunHere run_here, int input, std::ostream& out,
            std::ostream& err) {
    auto invocation = parse_invocation(args);
    if (!invocation) return fail(invocation.error(), args, err);
    if (invocation->command == nullptr) {
        out << help_text(invocation->topic);
        return kDone;
    }
    if (invocation->command->run == nullptr) {
        const auto done = run_here(invocation->arguments);
        return done ? kDone : fail(done.error(), args, err);
    }
    auto client = connect(invocation->arguments, err);
    if (!client) return fail(client.error(), args, err);
    Context context{std::move(invocation->arguments), *std::move(client), Screen(out, err, wants_json(args)),
                    input};
    const auto done = invocation->command->run(context);
    return done ? kDone : fail(done.error(), args, err);
}

}  // namespace claviger::admin::cli
