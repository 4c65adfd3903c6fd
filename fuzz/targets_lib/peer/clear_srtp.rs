//! SRTP without secrets: what it protects stays readable, and every tag is right. So each changed byte of a packet reaches the code
//! behind decryption, as those of a stranger do who has finished the handshake.

use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError,
    CryptoProvider, SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
    from_feature_flags,
};

/// The tag of both GCM profiles.
pub const TAG: usize = AeadAes128Gcm::TAG_LEN;

/// From now on every peer of this process has it.
pub fn install() {
    CryptoProvider { srtp_provider: &Clear, ..from_feature_flags() }.install_process_default();
}

#[derive(Debug)]
struct Clear;

impl SrtpProvider for Clear {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Clear
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Clear
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Clear
    }

    fn srtp_aes_128_ecb_round(&self, _key: &[u8], input: &[u8], output: &mut [u8]) {
        copy(input, output);
    }

    fn srtp_aes_256_ecb_round(&self, _key: &[u8], input: &[u8], output: &mut [u8]) {
        copy(input, output);
    }
}

fn copy(input: &[u8], output: &mut [u8]) {
    output.iter_mut().zip(input).for_each(|(to, from)| *to = *from);
}

/// What a real cipher does with lengths.
fn open(input: &[u8], output: &mut [u8]) -> Result<usize, CryptoError> {
    let length = input.len().checked_sub(TAG).ok_or_else(|| CryptoError::Other("no tag".into()))?;
    copy(&input[..length], output);
    Ok(length)
}

impl SupportedAes128CmSha1_80 for Clear {
    fn create_cipher(&self, _key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Clear)
    }
}

impl SupportedAeadAes128Gcm for Clear {
    fn create_cipher(&self, _key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Clear)
    }
}

impl SupportedAeadAes256Gcm for Clear {
    fn create_cipher(&self, _key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Clear)
    }
}

impl Aes128CmSha1_80Cipher for Clear {
    fn encrypt(&mut self, _iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        copy(input, output);
        Ok(())
    }

    fn decrypt(&mut self, _iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        copy(input, output);
        Ok(())
    }
}

impl AeadAes128GcmCipher for Clear {
    fn encrypt(
        &mut self,
        _iv: &[u8; 12],
        _aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        copy(input, output);
        Ok(())
    }

    fn decrypt(
        &mut self,
        _iv: &[u8; 12],
        _aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        open(input, output)
    }
}

impl AeadAes256GcmCipher for Clear {
    fn encrypt(
        &mut self,
        _iv: &[u8; 12],
        _aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        copy(input, output);
        Ok(())
    }

    fn decrypt(
        &mut self,
        _iv: &[u8; 12],
        _aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        open(input, output)
    }
}
