// Writes the examples of jose.json anew that npm "jose" and Node's crypto make, so that the tests read what another
// implementation wrote; the examples of the RFCs stay as they are. The keys are used nowhere else.
//   npm install --no-save jose@6.2.17 && node jose_examples.mjs
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as jose from "jose";

const file = new URL("jose.json", import.meta.url);
const { signed, thumbprints } = JSON.parse(fs.readFileSync(file));

const made = [];
const kinds = {
    RS256: ["rsa", { modulusLength: 2048 }], PS256: ["rsa", { modulusLength: 3072 }], ES256: ["ec", { namedCurve: "P-256" }],
    ES384: ["ec", { namedCurve: "P-384" }], ES512: ["ec", { namedCurve: "P-521" }], EdDSA: ["ed25519", {}],
};
for (const [alg, [type, options]] of Object.entries(kinds)) {
    const { privateKey } = crypto.generateKeyPairSync(type, options);
    const jwk = { ...privateKey.export({ format: "jwk" }), kid: "key-of-" + alg, alg, use: "sig" };
    const token = await new jose.SignJWT({ sub: "Zoë", n: 1.5 })
        .setProtectedHeader({ alg, kid: jwk.kid, typ: "at+jwt" })
        .setIssuer("https://issuer.example").setAudience("https://mcp.example/mcp")
        .setIssuedAt(1795255200).setExpirationTime(1795258800).sign(privateKey);
    const pem = (type, more = {}) => privateKey.export({ type, format: "pem", ...more });
    const pems = { pkcs8: pem("pkcs8"), encrypted: pem("pkcs8", { cipher: "aes-256-cbc", passphrase: "x" }) };
    if (type === "rsa") pems.pkcs1 = pem("pkcs1");
    if (type === "ec") pems.sec1 = pem("sec1");
    made.push({ name: "jose " + alg, alg, jwk, token, pem: pems, thumbprint: await jose.calculateJwkThumbprint(jwk) });
}

// Kinds of keys that must not be taken.
const foreign = (type, options) =>
    crypto.generateKeyPairSync(type, options).privateKey.export({ type: "pkcs8", format: "pem" });
const unsupported = {
    "RSA 1024": foreign("rsa", { modulusLength: 1024 }), secp256k1: foreign("ec", { namedCurve: "secp256k1" }),
    Ed448: foreign("ed448"), X25519: foreign("x25519"), "RSA-PSS only": foreign("rsa-pss", { modulusLength: 2048 }),
};

const rfcs = signed.filter((one) => one.name.startsWith("RFC"));
fs.writeFileSync(file, JSON.stringify({ signed: [...rfcs, ...made], thumbprints, unsupported }, null, 1) + "\n");
