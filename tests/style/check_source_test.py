"""check_source.py says each kind of fault of a source, and nothing of a good one."""
import pathlib
import shutil
import tempfile
import unittest

from check_source import faults_in


class Sources(unittest.TestCase):
    def faults(self, name, *included):
        root = pathlib.Path(tempfile.mkdtemp(prefix="claviger-style-"))
        self.addCleanup(shutil.rmtree, root)
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("".join(f"#include {each}\n" for each in included))
        return faults_in(root)

    def test_good_ones(self):
        for name, *included in [
            ("policy/good.h", '"base/result.h"', '"policy/rule.h"', "<string>", "<nlohmann/json_fwd.hpp>"),
            ("crypto/secret.cpp", "<sodium.h>", '"base/bytes.h"'),
            ("vault/rocksdb_engine.cpp", "<rocksdb/db.h>", '"crypto/envelope.h"'),
            ("net/listener.h", "<boost/asio/ip/tcp.hpp>"),
            ("net/session.cpp", "<boost/beast/http.hpp>"),
            ("proxy/call.h", '"net/awaitable.h"'),
            ("net/awaitable.h", "<boost/asio/awaitable.hpp>", "<boost/asio/co_spawn.hpp>"),
            ("tests/proxy/call_test.cpp", '"admin/api/body.h"', "<nlohmann/json.hpp>"),
            ("bench/keys.cpp", '"vault/records.h"'),
            ("tests/flows/node_modules/odd/odd.h", "<sodium.h>"),
            ("build/dev/generated/odd.cpp", "<sodium.h>"),
        ]:
            self.assertEqual(self.faults(name, *included), [], name)

    def test_faults(self):
        for name, included, fault in [
            ("policy/reach.h", '"crypto/secret.h"', "policy may not include crypto"),
            ("net/reach.cpp", '  "vault/records.h"', "net may not include vault"),
            ("proxy/reach.cpp", '"admin/api/api.h"', "proxy may not include admin"),
            ("admin/reach.cpp", '"proxy/redact.h"', "admin may not include proxy"),
            ("base/reach.h", '"policy/rule.h"', "base may not include policy"),
            ("vault/records.cpp", "<rocksdb/db.h>", "rocksdb/db.h may be included only in"),
            ("vault/rocksdb.cpp", "<sodium.h>", "sodium.h may be included only in"),
            ("crypto/other.cpp", "<p11-kit/p11-kit.h>", "p11-kit/p11-kit.h may be included only in"),
            ("oauth/call.cpp", "<boost/beast/http.hpp>", "boost/beast/http.hpp may be included only in"),
            ("net/http.h", "<boost/beast/http.hpp>", "boost/beast/http.hpp may be included only in"),
            ("base/log.cpp", "<spdlog/spdlog.h>", "spdlog/spdlog.h may be included only in"),
            ("server/log.h", "<spdlog/spdlog.h>", "spdlog/spdlog.h may be included only in"),
            ("base/spec.cpp", "<catch2/catch.hpp>", "catch2/catch.hpp may be included only in"),
            ("oauth/refresher.h", "<boost/asio/ip/tcp.hpp>", "outside net/ a header includes net/awaitable.h and nothing else"),
            ("notify/outbox.cpp", "<boost/asio/co_spawn.hpp>", "Asio's coroutines are included by net/awaitable.h alone"),
            ("net/session.cpp", "<boost/asio.hpp>", "Asio's coroutines are included by net/awaitable.h alone"),
            ("net/dialing.cpp", "<boost/asio/experimental/parallel_group.hpp>", "Asio's coroutines are included by"),
            ("tests/support/loop.h", "<boost/asio/use_awaitable.hpp>", "Asio's coroutines are included by net/awaitable.h alone"),
            ("vault/model.h", "<nlohmann/json.hpp>", "headers include <nlohmann/json_fwd.hpp>"),
        ]:
            found = self.faults(name, "<string>", included)
            self.assertEqual(len(found), 1, f"{name}: {found}")
            self.assertTrue(found[0].startswith(f"{name}:2: {fault}"), found)

    def test_a_room_that_nobody_knows(self):
        found = self.faults("egress/proxy.cpp", '"vault/records.h"')
        self.assertEqual(found, ["egress/proxy.cpp: egress is no room of the house; what may it use?"])


if __name__ == "__main__":
    unittest.main()
