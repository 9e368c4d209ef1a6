// A PKCS#11 module that gives back other keys than it was given: SoftHSM2 with a C_Decrypt that changes a
// bit. For tests of what is checked before a token is trusted.
#include <p11-kit/pkcs11.h>

#include <dlfcn.h>

namespace {

CK_FUNCTION_LIST* honest = nullptr;

CK_RV lying_decrypt(CK_SESSION_HANDLE session, CK_BYTE* sealed, CK_ULONG sealed_bytes, CK_BYTE* opened,
                    CK_ULONG* opened_bytes) {
    const CK_RV done = honest->C_Decrypt(session, sealed, sealed_bytes, opened, opened_bytes);
    if (done == CKR_OK && opened != nullptr && *opened_bytes > 0) opened[0] ^= 1;
    return done;
}

}  // namespace

extern "C" CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
    static CK_FUNCTION_LIST lying;
    if (honest == nullptr) {
        void* const module = ::dlopen(SOFTHSM_MODULE, RTLD_NOW | RTLD_LOCAL);
        if (module == nullptr) return CKR_GENERAL_ERROR;
        const auto functions_of =
            reinterpret_cast<CK_C_GetFunctionList>(::dlsym(module, "C_GetFunctionList"));
        if (functions_of == nullptr || functions_of(&honest) != CKR_OK) return CKR_GENERAL_ERROR;
        lying = *honest;
        lying.C_Decrypt = lying_decrypt;
    }
    *list = &lying;
    return CKR_OK;
}
