// Where the programs of the benchmark listen.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdio>
#include <optional>

namespace claviger::bench {

/// A listener on a free port of 127.0.0.1, which standard output tells bench/run_all. Nothing when there is
/// none to be had; errno says why.
inline std::optional<int> listen_on_loopback() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return std::nullopt;
    std::printf("{\"ready\":true,\"port\":%d}\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return fd;
}

}  // namespace claviger::bench
