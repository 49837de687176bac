//! The one kind of X.509 certificate that is made here: self-signed, for logging in to Windows guests over WinRM. It
//! names the user as `CN` and as `<user>@localhost`, and is good for client authentication.

use crate::core::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs8::EncodePublicKey;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha2::{Digest, Sha256};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const GENERALIZED_TIME: u8 = 0x18;

/// Object identifiers in their encoded form.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const USER_PRINCIPAL: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03];
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// What precedes a SHA-256 digest in a PKCS#1 signature.
const SHA256_PREFIX: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// A tag, the length, the content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap_or(0x7f));
    } else {
        let bytes = length.to_be_bytes();
        let used: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | u8::try_from(used.len()).unwrap_or(8));
        out.extend(used);
    }
    out.extend_from_slice(content);
    out
}

fn group(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// The certificate for `user`, in DER. Good from 1970 to 2099, since what ends its use is the deletion of the key.
pub fn self_signed(private: &RsaPrivateKey, user: &str) -> Result<Vec<u8>> {
    let algorithm = group(SEQUENCE, &[&element(OBJECT_ID, SHA256_WITH_RSA), &element(0x05, &[])]);
    let name = group(
        SEQUENCE,
        &[&group(
            SET,
            &[&group(SEQUENCE, &[&element(OBJECT_ID, COMMON_NAME), &element(UTF8, user.as_bytes())])],
        )],
    );
    let validity = group(
        SEQUENCE,
        &[&element(GENERALIZED_TIME, b"19700101000000Z"), &element(GENERALIZED_TIME, b"20991231235959Z")],
    );
    let public = private.to_public_key().to_public_key_der().map_err(Error::internal)?;
    let mut serial = [0u8; 16];
    getrandom::fill(&mut serial).map_err(|e| Error::internal(e.to_string()))?;
    // Positive and of full length.
    serial[0] = serial[0] & 0x3f | 0x40;

    let principal = element(0xa0, &element(UTF8, format!("{user}@localhost").as_bytes()));
    let other_name = group(0xa0, &[&element(OBJECT_ID, USER_PRINCIPAL), &principal]);
    let extension =
        |id: &[u8], value: &[u8]| group(SEQUENCE, &[&element(OBJECT_ID, id), &element(OCTET_STRING, value)]);
    let extensions = group(
        SEQUENCE,
        &[
            &extension(EXTENDED_KEY_USAGE, &group(SEQUENCE, &[&element(OBJECT_ID, CLIENT_AUTH)])),
            &extension(SUBJECT_ALT_NAME, &group(SEQUENCE, &[&other_name])),
        ],
    );
    let body = group(
        SEQUENCE,
        &[
            &element(0xa0, &element(INTEGER, &[2])),
            &element(INTEGER, &serial),
            &algorithm,
            &name,
            &validity,
            &name,
            public.as_bytes(),
            &element(0xa3, &extensions),
        ],
    );
    let scheme = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
    let signature = private.sign(scheme, &Sha256::digest(&body)).map_err(Error::internal)?;
    let signature = group(BIT_STRING, &[&[0], &signature]);
    Ok(group(SEQUENCE, &[&body, &algorithm, &signature]))
}

pub fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("{BEGIN}\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(END);
    out.push('\n');
    out
}

/// The DER of the first certificate in the text, if its outline is that of one.
pub fn from_pem(text: &str) -> Option<Vec<u8>> {
    let start = text.find(BEGIN)? + BEGIN.len();
    let length = text[start..].find(END)?;
    let digits: String = text[start..start + length].split_whitespace().collect();
    let der = STANDARD.decode(digits).ok()?;
    let (tag, content, rest) = split(&der)?;
    let (body, _, after_body) = split(content)?;
    let (algorithm, _, after_algorithm) = split(after_body)?;
    let (signature, _, end) = split(after_algorithm)?;
    let whole = rest.is_empty() && end.is_empty();
    let tags = [tag, body, algorithm, signature] == [SEQUENCE, SEQUENCE, SEQUENCE, BIT_STRING];
    (whole && tags).then_some(der)
}

/// The first element's tag and content, and what follows it.
fn split(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let (bytes, rest) = rest.split_at(count);
        (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    if rest.len() < length {
        return None;
    }
    let (content, after) = rest.split_at(length);
    Some((tag, content, after))
}
