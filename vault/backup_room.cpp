#include "vault/backup_room.h"

#include "base/log.h"

#include <algorithm>
#include <system_error>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr std::size_t kLongestName = 64;

}  // namespace

bool is_backup_name(std::string_view name) {
    return !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
           !name.ends_with(kUnfinished) && std::ranges::all_of(name, [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '.' || c == '-' || c == '_';
           });
}

BackupRoom::~BackupRoom() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
}

base::Status BackupRoom::check(std::string_view name) const {
    if (!is_backup_name(name))
        return base::failure(ErrorKind::invalid_request, "backup.name",
                             "This cannot be the name of a backup.",
                             "Use up to 64 letters, digits, '-', '_' and '.', not beginning with '.'.");
    if (newest_ && newest_->state == Run::State::running)
        return base::failure(ErrorKind::conflict, "backup.running", "A backup is being made already.",
                             "Wait until it is done; `claviger backup list` shows how far it is.");
    std::error_code error;
    if (std::filesystem::exists(folder_ / name, error))
        return base::failure(ErrorKind::conflict, "backup.exists", "There is a backup of that name already.",
                             "Choose another name.");
    return {};
}

base::Status BackupRoom::may_start(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    return check(name);
}

base::Status BackupRoom::start(const std::string& name, Records& records) {
    const std::lock_guard lock(mutex_);
    if (auto able = check(name); !able) return able;
    if (thread_.joinable()) thread_.join();  // it has ended: its state says so
    newest_ = Run{.name = name, .started = records.clock().now()};
    thread_ = std::thread([this, &records] { run(records); });
    return {};
}

void BackupRoom::run(Records& records) {
    const auto place = [&] {
        const std::lock_guard lock(mutex_);
        return folder_ / newest_->name;
    }();
    auto made = create_backup(records.storage(), records.keys(), records.clock(), place,
                              [this](std::uint64_t done, std::uint64_t total) {
                                  const std::lock_guard lock(mutex_);
                                  newest_->bytes_done = done;
                                  newest_->bytes_total = total;
                                  return !stopping_;
                              });
    if (made)
        base::log(base::LogLevel::info, "backup.made",
                  {{"name", place.filename().string()}, {"entries", made->head.size}});
    else
        base::log_error("backup.failed", made.error());
    const std::lock_guard lock(mutex_);
    if (made) {
        newest_->bytes_done = newest_->bytes_total = made->bytes();
        newest_->header = std::move(*made);
    } else {
        newest_->error = std::move(made).error();
    }
    newest_->state = newest_->header ? Run::State::done : Run::State::failed;
}

std::optional<BackupRoom::Run> BackupRoom::newest() const {
    const std::lock_guard lock(mutex_);
    return newest_;
}

}  // namespace claviger::vault
