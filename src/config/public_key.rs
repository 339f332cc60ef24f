//! Which public key is this? Turns a PEM text or a JWK's numbers into a [`PublicKey`] that is
//! strong enough and whose kind is known; nothing else can verify a user's token.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RsaParameters,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use data_encoding::BASE64;
use jsonwebtoken::{Algorithm, DecodingKey};

/// The smallest and the largest RSA modulus, in bits: below is too weak (RFC 7518 section 3.3),
/// above is too slow.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// What a key is, and so which algorithms it may verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 2048 to 8192 bits.
    Rsa,
    /// The curve of ES256.
    P256,
    /// The curve of ES384.
    P384,
    /// The curve of `EdDSA` as we accept it, which RFC 9864 calls `Ed25519`.
    Ed25519,
}

impl KeyKind {
    /// Every algorithm that a key of this kind can verify.
    #[must_use]
    pub fn algorithms(self) -> &'static [Algorithm] {
        use Algorithm as A;
        match self {
            Self::Rsa => &[A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512],
            Self::P256 => &[A::ES256],
            Self::P384 => &[A::ES384],
            Self::Ed25519 => &[A::EdDSA],
        }
    }
}

/// The algorithm of this name, as tokens, JWKs and `JWT_ALGORITHMS` write it. RFC 9864 gives
/// `EdDSA` with the one curve that is taken here a name of its own, `Ed25519`.
#[must_use]
pub fn algorithm_named(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

/// A public key that has been checked: its kind is known, it is strong enough, and its point lies
/// on its curve.
#[derive(Debug, Clone)]
pub struct PublicKey {
    kind: KeyKind,
    verifying: DecodingKey,
}

/// Why a text is no key that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its name means")]
pub enum KeyProblem {
    #[error("holds a private key; give the public one (`openssl pkey -in private.pem -pubout`)")]
    Private,
    #[error(
        "holds a certificate; give its public key (`openssl x509 -in cert.pem -noout -pubkey`)"
    )]
    Certificate,
    #[error("must hold one key, and holds several")]
    Several,
    #[error(
        "must be a PEM text that starts with `-----BEGIN PUBLIC KEY-----` or `-----BEGIN RSA \
         PUBLIC KEY-----`"
    )]
    NotPem,
    #[error("holds an RSA key whose size is out of bounds; it must have 2048 to 8192 bits")]
    RsaSize,
    #[error("must be an RSA, EC P-256, EC P-384 or Ed25519 public key")]
    Unsupported,
}

impl PublicKey {
    /// Reads a PEM text: SPKI, or PKCS#1 for RSA. Line ends may be LF, CRLF, blanks, or a
    /// written-out `\n`.
    ///
    /// # Errors
    /// What is wrong with the text; never a part of it.
    pub fn from_pem(text: &str) -> Result<Self, KeyProblem> {
        let (label, der) = read_pem(text)?;
        match label.as_str() {
            "PUBLIC KEY" => Self::from_spki(&der),
            "RSA PUBLIC KEY" => Self::from_rsa_der(&der),
            "CERTIFICATE" => Err(KeyProblem::Certificate),
            _ => Err(KeyProblem::NotPem),
        }
    }

    /// An RSA key from a JWK's `n` and `e`.
    ///
    /// # Errors
    /// When the size is out of bounds, or the numbers are no RSA key.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyProblem> {
        let numbers =
            RsaPublicKeyComponents { n: without_zeros(modulus), e: without_zeros(exponent) };
        let der = numbers.as_der().map_err(|_| KeyProblem::Unsupported)?;
        Self::from_rsa_der(der.as_ref())
    }

    /// An EC key from a JWK's `x` and `y`, each of the curve's full size (RFC 7518 section
    /// 6.2.1.2).
    ///
    /// # Errors
    /// When the point is not on the curve, or `kind` is no such curve.
    pub fn ec(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, KeyProblem> {
        let size = match kind {
            KeyKind::P256 => 32,
            KeyKind::P384 => 48,
            KeyKind::Rsa | KeyKind::Ed25519 => return Err(KeyProblem::Unsupported),
        };
        if x.len() != size || y.len() != size {
            return Err(KeyProblem::Unsupported);
        }
        Self::checked(kind, &[&[4], x, y].concat()).ok_or(KeyProblem::Unsupported)
    }

    /// An Ed25519 key from a JWK's `x`.
    ///
    /// # Errors
    /// When it has not 32 bytes.
    pub fn ed25519(x: &[u8]) -> Result<Self, KeyProblem> {
        if x.len() != 32 {
            return Err(KeyProblem::Unsupported);
        }
        Self::checked(KeyKind::Ed25519, x).ok_or(KeyProblem::Unsupported)
    }

    /// What the key is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key in the form that verifies.
    #[must_use]
    pub fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyProblem> {
        let curve = [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];
        // 32 bytes would be read as a bare Ed25519 point, which no SPKI is.
        if let Some(key) =
            curve.into_iter().filter(|_| der.len() > 32).find_map(|kind| Self::checked(kind, der))
        {
            return Ok(key);
        }
        Self::from_rsa_der(der)
    }

    fn from_rsa_der(der: &[u8]) -> Result<Self, KeyProblem> {
        let key = rsa::PublicKey::from_der(der).map_err(|_| KeyProblem::Unsupported)?;
        let pkcs1 = key.as_ref();
        let bits = RsaParameters::public_modulus_len(pkcs1).map_err(|_| KeyProblem::Unsupported)?;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyProblem::RsaSize);
        }
        Ok(Self { kind: KeyKind::Rsa, verifying: DecodingKey::from_rsa_der(pkcs1) })
    }

    fn checked(kind: KeyKind, bytes: &[u8]) -> Option<Self> {
        let (algorithm, verifying): (&'static dyn VerificationAlgorithm, _) = match kind {
            KeyKind::P256 => (&ECDSA_P256_SHA256_FIXED, DecodingKey::from_ec_der(bytes)),
            KeyKind::P384 => (&ECDSA_P384_SHA384_FIXED, DecodingKey::from_ec_der(bytes)),
            KeyKind::Ed25519 => (&ED25519, DecodingKey::from_ed_der(bytes)),
            KeyKind::Rsa => return None,
        };
        ParsedPublicKey::new(algorithm, bytes).is_ok().then_some(Self { kind, verifying })
    }
}

/// The label and the bytes of the one PEM block in the text. Text before and after the block is
/// left alone.
fn read_pem(text: &str) -> Result<(String, Vec<u8>), KeyProblem> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyProblem::Private);
    }
    let text = text.replace("\\r", "\r").replace("\\n", "\n");
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(KeyProblem::NotPem)?;
    let (label, rest) = rest.split_once("-----").ok_or(KeyProblem::NotPem)?;
    let (body, after) =
        rest.split_once(&format!("-----END {label}-----")).ok_or(KeyProblem::NotPem)?;
    if after.contains("-----BEGIN ") {
        return Err(KeyProblem::Several);
    }
    let body: String = body.split_whitespace().collect();
    let der = BASE64.decode(body.as_bytes()).map_err(|_| KeyProblem::NotPem)?;
    Ok((label.to_owned(), der))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! pem {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/keys/", $name, ".pem"))
        };
    }

    fn kind(pem: &str) -> Result<KeyKind, KeyProblem> {
        PublicKey::from_pem(pem).map(|key| key.kind())
    }

    #[test]
    fn every_kind_of_key_is_read_from_its_pem() {
        assert_eq!(kind(pem!("rsa2048.spki")), Ok(KeyKind::Rsa));
        assert_eq!(kind(pem!("rsa2048.pkcs1")), Ok(KeyKind::Rsa));
        assert_eq!(kind(pem!("p256.spki")), Ok(KeyKind::P256));
        assert_eq!(kind(pem!("p384.spki")), Ok(KeyKind::P384));
        assert_eq!(kind(pem!("ed25519.spki")), Ok(KeyKind::Ed25519));
    }

    #[test]
    fn line_ends_may_be_written_in_any_way() {
        for pem in [pem!("rsa2048.spki"), pem!("p256.spki"), pem!("rsa2048.pkcs1")] {
            let plain = kind(pem);
            assert!(plain.is_ok());
            for (with, what) in
                [("\r\n", "CRLF"), ("\\n", "escapes"), ("\\r\\n", "CRLF escapes"), (" ", "blanks")]
            {
                assert_eq!(kind(&pem.replace('\n', with)), plain, "{what}");
            }
            assert_eq!(kind(&format!("a comment\n{pem}\n\n")), plain, "text around it");
        }
    }

    #[test]
    fn a_private_key_is_refused_whatever_its_form() {
        for pem in [pem!("rsa2048.private"), pem!("p256.private"), pem!("ed25519.private")] {
            assert_eq!(kind(pem), Err(KeyProblem::Private));
            assert_eq!(kind(&pem.replace('\n', "\\n")), Err(KeyProblem::Private));
            assert_eq!(
                kind(&format!("{}{pem}", pem!("p256.spki"))),
                Err(KeyProblem::Private),
                "also behind another"
            );
        }
    }

    #[test]
    fn weak_and_foreign_keys_are_refused() {
        assert_eq!(kind(pem!("rsa1024.spki")), Err(KeyProblem::RsaSize));
        for pem in [pem!("p521.spki"), pem!("k256.spki"), pem!("x25519.spki")] {
            assert_eq!(kind(pem), Err(KeyProblem::Unsupported));
        }
        assert_eq!(kind(pem!("certificate")), Err(KeyProblem::Certificate));
        let two = [pem!("p256.spki"), pem!("p384.spki")].concat();
        assert_eq!(kind(&two), Err(KeyProblem::Several));
        for text in [
            "",
            "secret",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----!-----END PUBLIC KEY-----",
        ] {
            assert_eq!(kind(text), Err(KeyProblem::NotPem), "{text:?}");
        }
        let cut = pem!("rsa2048.spki").replacen("MII", "", 1);
        assert!(kind(&cut).is_err(), "a key with its head cut off");
    }

    #[test]
    fn numbers_that_are_no_key_are_refused() {
        let odd = vec![0xff; 256];
        assert!(PublicKey::rsa(&odd, &[1, 0, 1]).is_ok());
        assert!(
            PublicKey::rsa(&[&[0, 0], odd.as_slice()].concat(), &[1, 0, 1]).is_ok(),
            "zeros in front"
        );
        assert!(PublicKey::rsa(&odd[..128], &[1, 0, 1]).is_err(), "1024 bits");
        assert!(
            PublicKey::rsa(&[vec![0; 128], odd[..128].to_vec()].concat(), &[1, 0, 1]).is_err(),
            "and zeros"
        );
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0]] {
            assert!(PublicKey::rsa(&odd, exponent).is_err(), "exponent {exponent:?}");
        }
        assert!(PublicKey::ec(KeyKind::P256, &[1; 32], &[1; 32]).is_err(), "a point off the curve");
        assert!(PublicKey::ec(KeyKind::P256, &[1; 31], &[1; 33]).is_err());
        assert!(PublicKey::ec(KeyKind::Rsa, &[1; 32], &[1; 32]).is_err());
        assert!(PublicKey::ed25519(&[1; 31]).is_err());
    }
}
